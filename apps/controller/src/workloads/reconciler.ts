/**
 * Runs `converge` again for each workload that something happened to, and lets go of volumes and projects that wait for
 * their end. Several changes of one thing become one run; several runs share a commit of the store.
 */
import { type Instance, type Node, perSiteOf, type Workload } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { hasMoved } from '../devices/place.ts';
import { contentsOf } from '../projects/accept.ts';
import { keyOf } from '../state/keys.ts';
import { same } from '../state/resource.ts';
import type { Change } from '../state/view.ts';
import { settleVolume, usersOf } from '../volumes/accept.ts';
import { converge } from './converge.ts';
import { createDue } from './due.ts';

const AT_ONCE = 32;
const RETRY_MS = 1000;
/** A longer timer of Node's fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whether somebody whom a node refused may be taken by it now; what it merely reports of itself changes nothing. */
const offersMore = (before: Node, after: Node): boolean =>
  before.status.phase !== after.status.phase ||
  !same(before.spec, after.spec) ||
  !same(before.metadata.labels, after.metadata.labels) ||
  !same(before.status.capacity, after.status.capacity) ||
  !same(before.status.findings, after.status.findings);

export interface Reconciler {
  start(): void;
  stop(): Promise<void>;
}

export function createReconciler(core: Core): Reconciler {
  const { view, clock, logger } = core;
  const dirty = createDue(view);
  /** Nodes that are not ready, or none any more. */
  const away = new Set<string>();
  const drained = new Set<string>();
  /** Workloads that are wanted at some sites and not at others. */
  const perSite = new Set<string>();
  let waitersDue = false;
  let clientsDue = false;
  let active = 0;
  let running = false;
  let idle = (): void => undefined;
  const failed = new Set<string>();
  let retry: (() => void) | undefined;
  /** Of workloads that are to be looked at though nothing changes. */
  const timers = new Map<string, () => void>();

  const mark = (one: Change) => {
    switch (one.collection) {
      case 'workloads': {
        const { after } = one as Change<'workloads'>;
        if (after && perSiteOf(after.spec)) perSite.add(one.key);
        else perSite.delete(one.key);
        // Whoever accepts a workload plans all that follows from it in the same transaction.
        const planned = running && after?.status.observedGeneration === after?.metadata.generation;
        if (!after) break;
        const waitsForTime = after.status.sites?.some((site) => site.unwantedSince !== undefined) === true;
        const isCalm =
          planned && after.metadata.deletedAt === undefined && !waitsForTime && !waitsForNode(after);
        if (!isCalm) dirty.add(one.key);
        break;
      }
      case 'volumes':
      case 'projects':
        if (one.after) dirty.add(one.key);
        break;
      case 'instances': {
        const instance = (one as Change<'instances'>).after ?? (one as Change<'instances'>).before!;
        dirty.add(keyOf('workloads', instance.metadata.project!, instance.spec.workload));
        break;
      }
      case 'clients': {
        const { before, after } = one as Change<'clients'>;
        const stayed = before?.spec.attachedTo === after?.spec.attachedTo;
        if (!stayed || !same(before?.metadata.labels, after?.metadata.labels)) clientsDue = true;
        break;
      }
      case 'devices': {
        const { before, after } = one as Change<'devices'>;
        if (hasMoved(before, after)) clientsDue = true;
        break;
      }
      case 'sites':
      case 'access-points':
      case 'links':
      case 'node-overheads':
        waitersDue = true;
        break;
      case 'nodes': {
        const { before, after } = one as Change<'nodes'>;
        const isThere = after?.status.phase === 'ready';
        const { name } = (after ?? before!).metadata;
        if (isThere) away.delete(name);
        else away.add(name);
        if (after?.spec.drain) drained.add(name);
        else drained.delete(name);
        if (!isThere || after.spec.drain !== before?.spec.drain) {
          markOn(name);
          clientsDue = true;
        }
        if (isThere && (!before || offersMore(before, after))) waitersDue = true;
        break;
      }
    }
    if (one.after === undefined && one.collection !== 'operations' && running) markEnding(one);
  };
  const isAway = (node: string) => away.has(node);
  const waitsForNode = ({ metadata }: Workload) =>
    view
      .instancesOf(metadata.project!, metadata.name)
      .some(({ spec }) => spec.node !== undefined && isAway(spec.node));
  const workloadOf = ({ metadata, spec }: Instance) => keyOf('workloads', metadata.project!, spec.workload);
  /** The node of these is gone: it is to be known until when they wait for it. */
  const markOn = (node: string) => {
    for (const instance of view.instancesOn(node)) dirty.add(workloadOf(instance));
  };
  /** A node came or changed, or something ended: those without a node, and those of a lost one, try again. */
  const markWaiting = () => {
    waitersDue = false;
    clientsDue = true;
    for (const instance of view.instancesOn(undefined)) dirty.add(workloadOf(instance));
    for (const node of away) {
      for (const instance of view.instancesOn(node)) {
        const key = workloadOf(instance);
        // It waits for its time, which no other node changes. Without this, thousands that come back look at thousands.
        const { project } = instance.metadata;
        const isAlone = view.instancesOf(project!, instance.spec.workload).length === 1;
        if (!(isAlone && timers.has(key))) dirty.add(key);
      }
    }
    for (const node of drained) markOn(node);
    for (const { metadata } of view.volumesOn(undefined))
      dirty.add(keyOf('volumes', metadata.project!, metadata.name));
  };
  /** Something went: whoever waits for the room or for the end of what it holds. */
  const markEnding = ({ collection, before }: Change) => {
    if (collection === 'instances') waitersDue = true;
    const project = (before as { metadata?: { project?: string } }).metadata?.project;
    if (project === undefined) return;
    if (view.get('projects', project)?.metadata.deletedAt) dirty.add(keyOf('projects', project));
    if (collection !== 'workloads') return;
    for (const volume of view.all('volumes', project)) {
      if (volume.metadata.deletedAt) dirty.add(keyOf('volumes', project, volume.metadata.name));
    }
  };

  const lookAgain = (key: string, inMs: number) => {
    timers.get(key)?.();
    timers.delete(key);
    if (inMs === Number.POSITIVE_INFINITY || !running) return;
    const look = () => {
      timers.delete(key);
      dirty.add(key);
      pump();
    };
    timers.set(key, clock.after(Math.min(inMs, LONGEST_TIMER_MS), look));
  };

  const one = (key: string) =>
    change(core, [key], false, (draft, world) => {
      const object = view.byKey(key) as
        | { kind: string; metadata: { name: string; project: string; deletedAt?: string } }
        | undefined;
      if (!object) return;
      const { name, project, deletedAt } = object.metadata;
      if (object.kind === 'Workload') {
        const workload = draft.get('workloads', project, name)!;
        const own = view.instancesOf(project, name);
        const { lookInMs } = converge(draft, workload, workload, own, world);
        lookAgain(key, lookInMs);
      } else if (object.kind === 'Volume') {
        const volume = draft.get('volumes', project, name)!;
        const settled = settleVolume(volume, world);
        if (
          deletedAt &&
          settled.status.node === undefined &&
          usersOf(draft, view, project, name).length === 0
        )
          draft.delete(key);
        else if (settled.status.node !== volume.status.node) draft.put(key, settled);
      } else if (deletedAt && contentsOf(draft, view, name, true).length === 0) draft.delete(key);
    });

  const pump = () => {
    if (waitersDue) markWaiting();
    if (clientsDue) for (const key of perSite) dirty.add(key);
    clientsDue = false;
    while (running && active < AT_ONCE) {
      const key = dirty.take();
      if (key === undefined) break;
      active++;
      core.turns
        .run('upkeep', () => one(key))
        .catch((error) => {
          if (!running) return;
          logger.warn({ err: error, key }, 'reconciling failed and is tried again');
          failed.add(key);
          retry ??= clock.after(RETRY_MS, () => {
            retry = undefined;
            for (const again of failed) dirty.add(again);
            failed.clear();
            pump();
          });
        })
        .finally(() => {
          active--;
          if (active === 0) idle();
          pump();
        });
    }
  };

  view.onChange(mark);
  view.onBatch(pump);
  return {
    start() {
      running = true;
      for (const { spec } of view.all('instances'))
        if (spec.node !== undefined && !view.get('nodes', spec.node)) away.add(spec.node);
      waitersDue = true;
      pump();
    },
    async stop() {
      running = false;
      retry?.();
      for (const cancel of timers.values()) cancel();
      if (active > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      }
    },
  };
}
