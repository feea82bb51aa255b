/**
 * The controller as its agents see it. Desired state is computed from the view when somebody waits for it; its generation
 * is the store's revision, which never falls, also over restarts. Reports become durable before they are acknowledged.
 */
import type {
  ControllerLink,
  DesiredState,
  InstanceReport,
  NodeReport,
  VolumeReport,
} from '@skerry/contract';
import type { Id, Instance, Node } from '@skerry/model';
import { imagesNeeded, mayMove, parseBytes, SkerryError } from '@skerry/model';
import type { Sightings } from '../access/sightings.ts';
import { type Core, change } from '../core.ts';
import type { DeviceAuthority } from '../devices/authority.ts';
import { deviceFeed } from '../devices/feed.ts';
import type { DeviceReports } from '../devices/reports.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { Change } from '../state/view.ts';
import { usersOf } from '../volumes/accept.ts';
import { takenOut } from './join.ts';
import { grantLeases } from './leases.ts';
import type { Presence } from './presence.ts';

export interface LinkParts {
  readonly presence: Presence;
  readonly sightings: Sightings;
  readonly deviceAuthority: DeviceAuthority;
  readonly deviceReports: DeviceReports;
}

export function createLink(core: Core, parts: LinkParts): ControllerLink {
  const { presence, sightings, deviceAuthority, deviceReports } = parts;
  const { view } = core;
  const waiting = new Map<string, Set<() => void>>();
  /** Nodes to be told: of this batch; of batches before, and not told yet. */
  const dirty = new Set<string>();
  const due = new Set<string>();
  view.onChange((one) => {
    for (const node of nodesThatCare(one)) dirty.add(node);
    // Images and the users of volumes concern all nodes.
    if (one.collection === 'images' || one.collection === 'workloads') {
      if (wantsChanged(one)) for (const node of waiting.keys()) dirty.add(node);
    }
  });
  core.serviceNetwork.onChange((nodes) => {
    for (const node of nodes) dirty.add(node);
    wakeAll();
  });
  const wakeAll = () => {
    for (const node of dirty) {
      if (due.has(node) || !waiting.has(node)) continue;
      due.add(node);
      core.turns.do('upkeep', () => {
        due.delete(node);
        for (const wake of waiting.get(node) ?? []) wake();
      });
    }
    dirty.clear();
  };
  view.onBatch(wakeAll);

  async function* desired(node: string, signal: AbortSignal): AsyncIterable<DesiredState> {
    let due = true;
    let wake = (): void => undefined;
    const notify = () => {
      due = true;
      wake();
    };
    const listeners = waiting.get(node) ?? new Set();
    waiting.set(node, listeners.add(notify));
    const gone = presence.connected(node);
    signal.addEventListener('abort', notify, { once: true });
    try {
      while (!signal.aborted) {
        if (!due) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        due = false;
        yield desiredState(core, node);
      }
    } finally {
      listeners.delete(notify);
      signal.removeEventListener('abort', notify);
      gone();
    }
  }

  return {
    desired,
    lease: async (node, request) => grantLeases(core, node, request),
    measure: async (node, measurements) => core.measured.take(node, measurements),
    sighted: (node, seen) => sightings.take(node, seen),
    async register(report) {
      core.subnets.claim(report.name, [report.status.subnet]);
      await change(core, [keyOf('nodes', report.name)], false, (draft, world) => {
        if (draft.get('node-keys', report.name)?.removedAt !== undefined) throw takenOut(report.name);
        register(draft, report, world.now);
        const old = view.get('nodes', report.name);
        if (old?.status.phase === 'ready') return;
        const about = { kind: 'Node', name: report.name };
        draft.event({ type: 'normal', reason: 'Ready', message: `node ${report.name} is ready`, about });
      });
      presence.seen(report.name);
    },
    async report(node, observed) {
      presence.seen(node);
      await change(core, [], false, (draft, world) => {
        for (const one of observed.instances) reportInstance(core, draft, node, one, world.now);
        for (const one of observed.volumes) reportVolume(core, draft, node, one, world.now);
      });
      // The agent forgets the events that it told when this resolves.
      await core.events.flushed();
    },
    deviceFeed: (_, since, signal) => deviceFeed(core, since, signal),
    devices: (node, report) => deviceReports.take(node, report),
    deviceCertificate: (node, request) => deviceAuthority.sign(node, request),
    async *deviceCall(_, to, call, signal) {
      if (call.verb !== 'session-take' && call.verb !== 'session-taken')
        throw new SkerryError('forbidden', 'a node asks another one for sessions of devices only');
      const other = core.nodes.get(to);
      if (!other?.hub) throw new SkerryError('unavailable', `the agent of the node ${to} is not connected`);
      yield* other.hub(call, signal);
    },
  };
}

/** The nodes whose desired state differs by a change; a new status alone is no difference. */
function nodesThatCare(one: Change): string[] {
  if (one.collection === 'instances') {
    const [before, after] = [one.before, one.after] as [Instance | undefined, Instance | undefined];
    if (before?.metadata.generation === after?.metadata.generation && before?.spec.node === after?.spec.node)
      return [];
    return [before?.spec.node, after?.spec.node].filter((node) => node !== undefined);
  }
  if (one.collection === 'volumes') {
    const { before, after } = one as Change<'volumes'>;
    if (
      before?.metadata.generation === after?.metadata.generation &&
      before?.status.node === after?.status.node
    )
      return [];
    return [before?.status.node, after?.status.node].filter((node) => node !== undefined);
  }
  return [];
}

function wantsChanged(one: Change): boolean {
  if (one.collection === 'images') {
    const { before, after } = one as Change<'images'>;
    return before?.status.digest !== after?.status.digest;
  }
  const { before, after } = one as Change<'workloads'>;
  return after === undefined && (before?.spec.volumes?.length ?? 0) > 0;
}

const byUid = (a: Pick<Instance, 'metadata'>, b: Pick<Instance, 'metadata'>) =>
  a.metadata.uid < b.metadata.uid ? -1 : 1;

function desiredState(core: Core, node: string): DesiredState {
  const { view } = core;
  // In the order in which an agent's ledger has them: what it knows is told from what it does not by a mark of the whole.
  const instances = view
    .instancesOn(node)
    .sort(byUid)
    .map((instance) => ({
      uid: instance.metadata.uid as Id<'instance'>,
      name: instance.metadata.name,
      project: instance.metadata.project!,
      generation: instance.metadata.generation,
      spec: instance.spec,
      deleted: instance.metadata.deletedAt !== undefined,
    }));
  const volumes = view
    .volumesOn(node)
    .sort(byUid)
    .map(({ metadata, spec }) => ({
      uid: metadata.uid as Id<'volume'>,
      project: metadata.project!,
      name: metadata.name,
      sizeBytes: parseBytes(spec.size),
      // Its data stays as long as a guest that is being removed may still write to it.
      deleted:
        metadata.deletedAt !== undefined &&
        usersOf(undefined, view, metadata.project!, metadata.name).length === 0,
    }));
  const images = new Set([...view.all('images')].map((image) => image.status.digest));
  for (const { spec } of instances) for (const digest of imagesNeeded(spec)) images.add(digest);
  const network = core.serviceNetwork.of(node);
  return { generation: view.revision, instances, volumes, images: [...images], network };
}

function register(draft: Draft, report: NodeReport, now: string): void {
  const { name } = report;
  const stored = draft.get('nodes', name);
  const status: Node['status'] = {
    ...report.status,
    phase: 'ready',
    allocated: { cpus: 0, memoryBytes: 0, instances: 0 },
  };
  if (!stored || !same(stored.status, status)) {
    draft.put(keyOf('nodes', name), {
      apiVersion: 'skerry/v1',
      kind: 'Node',
      metadata: stored ? touched(stored.metadata, now, { spec: false }) : newMetadata({ name }, now),
      spec: stored?.spec ?? {},
      status,
    } satisfies Node);
  }
  if (!same(draft.get('node-overheads', name), report.overheadBytes)) {
    draft.put(keyOf('node-overheads', name), report.overheadBytes);
  }
}

function reportInstance(core: Core, draft: Draft, node: string, report: InstanceReport, now: string): void {
  const known = core.view.instanceByUid(report.uid);
  const stored = known && draft.get('instances', known.metadata.project!, known.metadata.name);
  if (!stored || stored.spec.node !== node) return; // forgotten already: the next desired state does not name it
  const { name, project } = stored.metadata as { name: string; project: string };
  const key = keyOf('instances', project, name);
  const about = { kind: 'Instance', project, name, uid: stored.metadata.uid };
  if (report.state === 'absent') {
    if (stored.metadata.deletedAt === undefined) return; // it has not been made yet
    draft.delete(key);
    draft.event({ type: 'normal', reason: 'Removed', message: `instance ${name} is gone`, about });
    return;
  }
  for (const { atMs, type, reason, message } of report.events) {
    draft.event({ type, reason, message, about, at: new Date(atMs).toISOString() });
  }
  if (same(stored.status, report.status)) return;
  const { phase } = report.status;
  // The agent is right about its guest; a jump over phases that nobody saw is worth a line in the log.
  if (!mayMove(stored.status.phase, phase)) {
    core.logger.debug({ instance: name, from: stored.status.phase, to: phase }, 'phases were passed over');
  }
  draft.put(key, {
    ...stored,
    metadata: touched(stored.metadata, now, { spec: false }),
    status: report.status,
  });
}

function reportVolume(core: Core, draft: Draft, node: string, report: VolumeReport, now: string): void {
  for (const known of core.view.volumesOn(node)) {
    if (known.metadata.uid !== report.uid) continue;
    const { name, project } = known.metadata as { name: string; project: string };
    const stored = draft.get('volumes', project, name);
    if (!stored) return;
    if (report.state === 'absent') {
      if (stored.metadata.deletedAt) draft.delete(keyOf('volumes', project, name));
      return;
    }
    const status: typeof stored.status = {
      phase: report.state,
      node,
      usedBy: [],
      ...(report.reason !== undefined && { reason: report.reason }),
    };
    if (same(stored.status, status)) return;
    if (report.state === 'failed') {
      const about = { kind: 'Volume', project, name, uid: stored.metadata.uid };
      draft.event({
        type: 'warning',
        reason: 'Failed',
        message: report.reason ?? `volume ${name} can not be made`,
        about,
      });
    }
    draft.put(keyOf('volumes', project, name), {
      ...stored,
      metadata: touched(stored.metadata, now, { spec: false }),
      status,
    });
    return;
  }
}

/** The agent of an instance, to be asked on demand. Errors: not_found, guest_not_running, unavailable. */
export function linkOf(core: Core, instance: Instance) {
  const { node } = instance.spec;
  const { name } = instance.metadata;
  if (node === undefined) {
    throw new SkerryError(
      'guest_not_running',
      `${name} waits for a node: ${instance.status.reason ?? 'none has joined'}`,
    );
  }
  const link = core.nodes.get(node);
  if (!link)
    throw new SkerryError('unavailable', `the agent of the node ${node}, where ${name} is, is not connected`);
  return { link, uid: instance.metadata.uid as Id<'instance'> };
}
