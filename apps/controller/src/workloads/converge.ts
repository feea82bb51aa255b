/**
 * From a workload to its instances: the one place that decides what is made, changed and removed. It plans into a draft
 * and takes room in the ledger; apply commits the draft, `plan` prints its steps and throws it away, the reconciler runs
 * it again whenever something changed. It does no I/O.
 *
 *   wanted: ordinals 0 .. replicas-1, or those of each site (slots.ts), each `<workload>-<ordinal>`; higher ones go first; a deleted one's name and
 *   address are free again only when its agent has reported it absent.
 */
import type { Step } from '@skerry/contract';
import {
  furtherDigests,
  guestWords,
  type Instance,
  type Node,
  type PerSite,
  perSiteOf,
  replicasOf,
  SkerryError,
  sameFurther,
  type Workload,
  withoutFurther,
} from '@skerry/model';
import type { Demand } from '@skerry/placement';
import type { Lease } from '@skerry/reconcile';
import { shortage } from '../admission/capacity.ts';
import { type Claim, claimOf, claimOfInstance } from '../admission/claim.ts';
import type { Ledger } from '../admission/ledger.ts';
import { checkQuota } from '../admission/quota.ts';
import type { Answer } from '../placement/place.ts';
import type { Asked } from '../placement/request.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { Overheads } from '../state/view.ts';
import { bindVolumes, volumesOf } from '../volumes/binding.ts';
import { needsStandIn, nextMove } from './moving.ts';
import { preempt, whyNot } from './preempt.ts';
import { type Fate, fateOf, leaseOf, nowhereForMs } from './replace.ts';
import { differences, isCurrent, isReady, nextToChange, type Wanted, wantedOf } from './rollout.ts';
import { plainSlots, type Slots, siteChanges, siteSlots, sitesHeld, withReady } from './slots.ts';

export interface Candidate {
  readonly node: Node;
  readonly overheads: Overheads;
}

export interface World {
  readonly candidate: (node: string) => Candidate | undefined;
  /** The node, where there is but one and it is there. */
  readonly onlyNode: () => string | undefined;
  /** Where an instance goes. Errors: manifest_invalid. */
  readonly place: (asked: Asked) => Answer;
  /** At which sites it is wanted; `holds`: where it is already. */
  readonly demand: (asked: Asked, perSite: PerSite, holds: ReadonlySet<string>) => Demand;
  /** The virtual address of a workload: the one that it has, or a free one. Errors: address_exhausted. */
  readonly serviceAddress: (key: string, uid: string) => string;
  /** In a plan: for every node why or why not, asked before the room is taken. */
  readonly why: (asked: Asked) => string[];
  readonly ledger: Ledger;
  /** Takes room in the ledger; given back if the draft is not committed. */
  readonly reserve: (key: string, claim: Claim | undefined) => void;
  readonly now: string;
  /** Refuse what does not fit (a request), rather than let it wait (the reconciler). */
  readonly strict: boolean;
  /** How long a lost node has been away; infinite where there is no such node any more, undefined where it is not lost. */
  readonly awayMs: (node: string) => number | undefined;
  /** Its instances are to leave it. */
  readonly isDrained: (node: string) => boolean;
  readonly leases: {
    readonly graceMs: number;
    readonly leftMs: (lease: Lease) => number;
    /** A copy was never anywhere before. */
    readonly open: (uid: string) => void;
    /** Its node is to have it no more. */
    readonly close: (uid: string) => void;
  };
}

export interface Converged {
  readonly steps: Step[];
  readonly workload: Workload | undefined;
  /** When it is to be run again, though nothing changes; infinite: never. */
  readonly lookInMs: number;
}

const pinnedTo = (site: string | undefined) => (site === undefined ? {} : { site });
const nameOfKey = (key: string) => `instance ${decodeURIComponent(key.split('/').at(-1) ?? key)}`;

/** Plans everything that follows from `workload`, which is put into the draft where it differs from what is stored. */
export function converge(
  draft: Draft,
  stored: Workload | undefined,
  workload: Workload,
  existing: readonly Instance[],
  world: World,
): Converged {
  const { name, project } = workload.metadata as { name: string; project: string };
  const key = keyOf('workloads', project, name);
  const steps: Step[] = [];
  const deleting = workload.metadata.deletedAt !== undefined;
  const wanted = wantedOf(workload);
  const single = workload.spec.singleInstance === true;
  let epoch = workload.control.epoch ?? 0;
  const templateGeneration = workload.metadata.generation;
  const before = { ...world.ledger.project(project) };
  let reason: string | undefined;
  let lookInMs = Number.POSITIVE_INFINITY;

  const instances = new Map(existing.map((instance) => [instance.spec.ordinal, instance]));
  const change = (instance: Instance, step: Step | undefined) => {
    instances.set(instance.spec.ordinal, instance);
    draft.put(keyOf('instances', project, instance.metadata.name), instance);
    if (step) steps.push(step);
  };
  const active = () => [...instances.values()].filter((instance) => !instance.metadata.deletedAt);
  const forget = (instance: Instance) => {
    instances.delete(instance.spec.ordinal);
    const instanceKey = keyOf('instances', project, instance.metadata.name);
    draft.delete(instanceKey);
    world.reserve(instanceKey, undefined);
  };

  const slots = slotsNow();
  const { lasting, kept } = slots;
  lookInMs = Math.min(lookInMs, slots.lookInMs);

  /** What it is to have, by the number of its replicas or by where it is wanted. */
  function slotsNow(): Slots {
    const perSite = perSiteOf(workload.spec);
    if (deleting || !perSite) return plainSlots(deleting ? 0 : replicasOf(workload.spec));
    const siteOf = (node: string) => world.candidate(node)?.node.spec.site;
    const asked = { project, workload: name, name: `${name}-0`, spec: workload.spec };
    const demand = world.demand(asked, perSite, sitesHeld(existing, workload.spec, world));
    if (demand.unserved.length > 0)
      reason = `no site takes it for the clients at ${demand.unserved.slice(0, 5).join(', ')}`;
    const found = siteSlots({ perSite, workload, instances: existing, demand, siteOf, now: world.now });
    for (const message of siteChanges(workload.status.sites, found.sites))
      draft.event({
        ...{ type: 'normal', reason: 'SitesChanged', message: `workload ${name}: ${message}` },
        about: { kind: 'Workload', project, name, uid: workload.metadata.uid },
      });
    return found;
  }

  for (const instance of existing) {
    const leftMs = instance.metadata.deletedAt && nowhereForMs(instance, world);
    if (leftMs === 0) forget(instance);
    else if (typeof leftMs === 'number') lookInMs = Math.min(lookInMs, leftMs);
  }
  for (const instance of [...instances.values()].sort((a, b) => b.spec.ordinal - a.spec.ordinal)) {
    if (instance.metadata.deletedAt) continue;
    const isUnbound = single && instance.spec.node !== undefined && !instance.spec.lease;
    if ((lasting.has(instance.spec.ordinal) || kept.has(instance.spec.ordinal)) && !isUnbound) continue;
    if (instance.spec.standIn && needsStandIn([...instances.values()], lasting, workload, world)) continue;
    remove(instance, `delete instance ${instance.metadata.name}`);
  }

  function remove(instance: Instance, text: string): void {
    steps.push(step('delete', instance.metadata.name, text));
    if (instance.spec.node === undefined) {
      forget(instance);
      return;
    }
    const metadata = { ...touched(instance.metadata, world.now, { spec: true }), deletedAt: world.now };
    change({ ...instance, metadata }, undefined);
  }

  for (const ordinal of lasting.keys()) {
    const old = instances.get(ordinal);
    if (old?.metadata.deletedAt) {
      reason = `${old.metadata.name} of before is still being removed`;
      continue;
    }
    const fate = old && fateOf(old, workload.spec, world);
    if (old && fate) {
      reason = standIn(old, fate) ?? reason;
      continue;
    }
    if (old?.spec.node !== undefined) continue;
    const other = single && [...instances.values()].find(({ spec }) => spec.ordinal !== ordinal);
    if (other) {
      reason = `${other.metadata.name} of before is still being removed`;
      continue;
    }
    const instance = old ?? newInstance(workload, ordinal, wanted, world.now);
    const waits = settle(instance);
    if (waits !== undefined) reason = waits;
  }

  if (!deleting) move();

  /** The next step of those that leave a node which is drained. */
  function move(): void {
    const next = nextMove(active(), lasting, workload, world);
    if (next.do === 'none') return;
    if (next.do === 'wait') {
      reason ??= next.reason;
      return;
    }
    const { leaving } = next;
    // a stand-in that runs is proof enough: where there is room for one only, it makes room
    const elsewhere = next.do === 'take away' && next.hasStandIn ? undefined : whyNowhere(leaving);
    if (elsewhere !== undefined)
      reason ??= `${leaving.metadata.name} stays on ${leaving.spec.node}: no other node takes it: ${elsewhere}`;
    else if (next.do === 'take away')
      remove(leaving, `move instance ${leaving.metadata.name} away from ${leaving.spec.node}`);
    else {
      let ordinal = lasting.size;
      while (slots.sites && (instances.has(ordinal) || lasting.has(ordinal))) ordinal++;
      if (instances.has(ordinal)) return;
      const instance = newInstance(workload, ordinal, wanted, world.now);
      const site = lasting.get(leaving.spec.ordinal);
      settle({ ...instance, spec: { ...instance.spec, standIn: true } }, undefined, site);
    }
  }

  /** Why no node takes one more; undefined: one does. */
  function whyNowhere({ metadata, spec }: Instance): string | undefined {
    const asked = { project, workload: name, name: metadata.name, spec: workload.spec };
    const pinned = pinnedTo(lasting.get(spec.ordinal));
    const answer = world.place({ ...asked, ...pinned, ...volumesOf(draft, project, workload) });
    return 'placed' in answer ? undefined : whyNot(answer);
  }

  /** The node of an instance does not answer: another one takes its place when it is time; returns why it waits. */
  function standIn(old: Instance, fate: Fate): string | undefined {
    const waits =
      'waits' in fate
        ? fate.waits
        : settle(newInstance(workload, old.spec.ordinal, wanted, world.now), { old, because: fate.replace });
    if ('lookInMs' in fate) lookInMs = Math.min(lookInMs, fate.lookInMs);
    if (waits === undefined) return undefined;
    if (old.status.reason !== waits) change({ ...old, status: { ...old.status, reason: waits } }, undefined);
    return `${old.metadata.name} waits: ${waits}`;
  }

  /**
   * Gives an instance its node and address, or leaves it waiting; returns why it waits. `instead`: whose place it takes; that
   * one stays where no other node can be had. `site`: the only one that will do.
   */
  function settle(
    instance: Instance,
    instead?: { old: Instance; because: string },
    site = lasting.get(instance.spec.ordinal),
  ): string | undefined {
    const { metadata } = instance;
    const instanceKey = keyOf('instances', project, metadata.name);
    const asked = { project, workload: name, name: metadata.name, spec: workload.spec };
    const wish = { ...asked, ...pinnedTo(site), ...volumesOf(draft, project, workload) };
    const answer = world.place(wish);
    const why = world.why(wish);
    if ('placed' in answer) {
      const { node, network, claim } = answer.placed;
      world.reserve(instanceKey, claim);
      bindVolumes(draft, project, workload, node, world);
      const spec = {
        ...withoutFurther(instance.spec),
        ...wanted,
        templateGeneration,
        node,
        network,
        run: workload.control.run,
        ...(single && { lease: leaseOf(workload.spec, ++epoch, world) }),
      };
      if (single) world.leases.open(metadata.uid);
      if (instead?.old.spec.lease) world.leases.close(instead.old.metadata.uid);
      const fresh = draft.get('instances', project, metadata.name) === undefined;
      const status = { ...instance.status, phase: 'scheduled' as const };
      delete status.reason;
      change(
        {
          ...instance,
          metadata: fresh ? metadata : touched(metadata, world.now, { spec: true }),
          spec,
          status,
        },
        step(
          instead ? 'replace' : 'create',
          metadata.name,
          `${instead ? 'replace' : 'create'} instance ${metadata.name} on ${node} at ${network.address}`,
          why,
        ),
      );
      if (instead) {
        draft.event({
          type: 'warning',
          reason: 'Replaced',
          message: `${instead.because}: instance ${metadata.name} is started on ${node} in place of the one there`,
          about: { kind: 'Instance', project, name: metadata.name, uid: metadata.uid },
        });
      }
      return undefined;
    }
    if (instead) {
      return `${instead.because}, and no other takes it: ${whyNot(answer)}`;
    }
    if ('refused' in answer && world.strict) throw answer.refused;
    if ('ends' in answer)
      for (const { key: ended } of answer.ends) preempt(draft, ended, metadata.name, world);
    const because = whyNot(answer);
    const claim = claimOf({ project, workload: name }, workload.spec, workload.spec, {});
    world.reserve(instanceKey, claim);
    const isNew = draft.get('instances', project, metadata.name) === undefined;
    if (isNew || instance.status.reason !== because) {
      const text = `create instance ${metadata.name}; it waits: ${because}`;
      change(
        { ...instance, status: { ...instance.status, reason: because } },
        isNew ? step('create', metadata.name, text, why) : undefined,
      );
    }
    return `${metadata.name} waits: ${because}`;
  }

  if (!deleting) {
    const due = new Set(
      nextToChange(
        active().filter((one) => one.spec.node !== undefined),
        wanted,
      ).map((one) => one.metadata.name),
    );
    for (const instance of active()) {
      const takesNew =
        instance.spec.node === undefined ? !isCurrent(instance, wanted) : due.has(instance.metadata.name);
      const { run } = workload.control;
      if (!takesNew && instance.spec.run === run) continue;
      const taken = takesNew && { ...withoutFurther(instance.spec), ...wanted, templateGeneration };
      const spec = { ...(taken || instance.spec), run };
      change(
        { ...instance, metadata: touched(instance.metadata, world.now, { spec: true }), spec },
        changeStep(instance, takesNew ? wanted : undefined, run),
      );
    }
    for (const instance of active()) hold(instance);
    const old = active().filter((one) => !isCurrent(one, wanted)).length;
    if (old > 0 && !reason) reason = `${old} of ${lasting.size} instances are still to be replaced`;
    if (old > 0 && world.strict) {
      for (const one of active())
        if (!isCurrent(one, wanted)) steps.push(changeStep(one, wanted, one.spec.run, 'then '));
    }
  }

  /** Checks and takes the room of an instance that has its node: its new spec may want more. */
  function hold(instance: Instance): void {
    const instanceKey = keyOf('instances', project, instance.metadata.name);
    const candidate = instance.spec.node === undefined ? undefined : world.candidate(instance.spec.node);
    if (!candidate) return;
    const claim = claimOfInstance(instance, workload.spec, candidate.overheads);
    const held = world.ledger.get(instanceKey);
    if (held && same(held, claim)) return;
    if (world.strict) {
      const node = candidate.node.metadata.name;
      for (const port of claim.ports) {
        const owner = world.ledger.node(node).ports.get(port);
        if (owner !== undefined && owner !== instanceKey) {
          throw new SkerryError('port_taken', `${port} of ${node} is published by ${nameOfKey(owner)}`, {
            details: { field: 'spec.ports', port, node, by: nameOfKey(owner) },
          });
        }
      }
      const grows =
        !held ||
        claim.memoryBytes > held.memoryBytes ||
        claim.cpus > held.cpus ||
        claim.diskBytes > held.diskBytes;
      const short = grows && shortage(candidate.node, world.ledger.node(node), claim, held);
      if (short) {
        const { text, ...numbers } = short;
        throw new SkerryError('quota_exceeded', `${instance.metadata.name} ${text}`, {
          details: { ...numbers, node },
        });
      }
    }
    world.reserve(instanceKey, claim);
  }

  if (world.strict && !deleting) checkQuota(draft.get('projects', project), before, world.ledger);

  if (deleting && instances.size === 0) {
    draft.delete(key);
    return { steps, workload: undefined, lookInMs };
  }
  const current = active();
  const ready = current.filter(isReady).length;
  if (!reason && !deleting) {
    const unwell = current.find(
      (one) => one.spec.node !== undefined && one.status.phase !== 'running' && one.status.reason,
    );
    if (unwell) reason = `${unwell.metadata.name}: ${unwell.status.reason}`;
  }
  const status: Workload['status'] = {
    observedGeneration: workload.metadata.generation,
    replicas: current.length,
    ready,
    ...(slots.sites && { sites: withReady(slots.sites, current) }),
    ...(deleting ? { reason: `is being deleted, ${instances.size} to go` } : reason && { reason }),
    ...(workload.spec.ports?.length && {
      serviceAddress: workload.status.serviceAddress ?? world.serviceAddress(key, workload.metadata.uid),
    }),
    ...(workload.status.imageDigest !== undefined && { imageDigest: workload.status.imageDigest }),
    ...furtherDigests(workload.status),
  };
  const control = epoch === (workload.control.epoch ?? 0) ? workload.control : { ...workload.control, epoch };
  const isSame = same(workload.status, status) && control === workload.control;
  const result = isSame ? workload : { ...workload, control, status };
  if (stored !== result) {
    draft.put(
      key,
      result === workload || workload !== stored
        ? result
        : { ...result, metadata: { ...result.metadata, updatedAt: world.now } },
    );
  }
  return { steps, workload: result, lookInMs };
}

const step = (action: Step['action'], name: string, text: string, why: readonly string[] = []): Step => ({
  action,
  kind: 'Instance',
  name,
  text,
  ...(why.length > 0 && { why: [...why] }),
});

function changeStep(
  instance: Instance,
  wanted: Wanted | undefined,
  run: 'running' | 'stopped',
  prefix = '',
): Step {
  const { name } = instance.metadata;
  if (wanted && run === 'running') {
    const fields = differences(instance.spec.template, wanted.template);
    if (instance.spec.imageDigest !== wanted.imageDigest && !fields.includes('image')) fields.push('image');
    const replaces =
      instance.spec.imageDigest !== wanted.imageDigest ||
      !sameFurther(instance.spec, wanted) ||
      instance.spec.rebuilds !== wanted.rebuilds ||
      !same(guestWords(instance.spec.template), guestWords(wanted.template));
    if (fields.length > 0 && !replaces && instance.spec.restarts === wanted.restarts)
      return step(
        'update',
        name,
        `${prefix}update instance ${name} while it runs: ${fields.join(', ')} changed`,
      );
    if (fields.length > 0)
      return step('replace', name, `${prefix}replace instance ${name}: ${fields.join(', ')} changed`);
    return step('restart', name, `${prefix}restart instance ${name}`);
  }
  if (instance.spec.run === run) return step('update', name, `${prefix}update instance ${name}`);
  return run === 'stopped'
    ? step('stop', name, `stop instance ${name}`)
    : step('start', name, `start instance ${name}`);
}

function newInstance(workload: Workload, ordinal: number, wanted: Wanted, now: string): Instance {
  const { name, project, labels, uid } = workload.metadata;
  return {
    apiVersion: 'skerry/v1',
    kind: 'Instance',
    metadata: newMetadata({ name: `${name}-${ordinal}`, project: project!, labels }, now),
    spec: {
      workload: name,
      workloadUid: uid,
      ordinal,
      ...wanted,
      templateGeneration: workload.metadata.generation,
      run: workload.control.run,
    },
    status: { phase: 'pending', observedGeneration: 0, health: 'unknown', restartCount: 0, exits: [] },
  };
}
