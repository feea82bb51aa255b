/** What all features of the controller stand on, made once by createController and handed down. */
import type { NodeLink } from '@skerry/contract';
import type { ImageStore } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { LeaseGrantor } from '@skerry/reconcile';
import type { Store } from '@skerry/store';
import type { Claim } from './admission/claim.ts';
import { claimOfInstance, claimOfVolume } from './admission/claim.ts';
import type { Ledger } from './admission/ledger.ts';
import type { Clock } from './clock.ts';
import type { EventLog } from './events/event-log.ts';
import type { Logger } from './logger.ts';
import type { Measured } from './measurements/measured.ts';
import type { Absences } from './nodes/absences.ts';
import type { Subnets } from './nodes/subnets.ts';
import { demandOf } from './placement/demand.ts';
import { explainLines } from './placement/explain.ts';
import type { Placement } from './placement/place.ts';
import type { ServiceAddresses } from './services/addresses.ts';
import type { ServiceNetwork } from './services/network.ts';
import { createDraft, type Draft } from './state/draft.ts';
import { partsOf } from './state/keys.ts';
import type { Locks } from './state/locks.ts';
import type { View } from './state/view.ts';
import type { Turns } from './turns.ts';
import type { Candidate, World } from './workloads/converge.ts';

export interface Core {
  readonly store: Store;
  readonly view: View;
  readonly ledger: Ledger;
  readonly placement: Placement;
  readonly subnets: Subnets;
  readonly serviceAddresses: ServiceAddresses;
  readonly serviceNetwork: ServiceNetwork;
  readonly measured: Measured;
  readonly locks: Locks;
  readonly turns: Turns;
  readonly events: EventLog;
  readonly images: ImageStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dataDir: string;
  readonly nodeName: string;
  readonly nodes: ReadonlyMap<string, NodeLink>;
  readonly absences: Absences;
  readonly leases: LeaseGrantor;
  /** How long an agent may be away before its node is lost. */
  readonly nodeGraceMs: number;
}

/** The claim that follows from what is stored. */
export function storedClaim(core: Pick<Core, 'view'>, key: string): Claim | undefined {
  const { view } = core;
  const { collection, project, name } = partsOf(key);
  if (collection === 'volumes') {
    const volume = view.get('volumes', project!, name);
    return volume && claimOfVolume(volume);
  }
  const instance = view.get('instances', project!, name);
  if (!instance) return undefined;
  const workload = view.get('workloads', project!, instance.spec.workload);
  const overheads =
    instance.spec.node === undefined ? {} : (view.get('node-overheads', instance.spec.node) ?? {});
  return claimOfInstance(instance, workload?.spec, overheads);
}

/** A node with what its runtimes take beside their guests. */
export function candidate(view: View, name: string): Candidate | undefined {
  const node = view.get('nodes', name);
  return node && { node, overheads: view.get('node-overheads', name) ?? {} };
}

function onlyNode(view: View): string | undefined {
  const [only, ...others] = view.all('nodes');
  return only && others.length === 0 && only.status.phase === 'ready' ? only.metadata.name : undefined;
}

export interface Planned<T> {
  readonly draft: Draft;
  readonly result: T;
  /** Gives back the room that was taken: the draft is not committed. `unsure`: it may have been, all the same. */
  release(unsure?: boolean): void;
}

/** Runs a plan; if it throws, nothing is left of it. */
export function planOnce<T>(
  core: Core,
  strict: boolean,
  work: (draft: Draft, world: World) => T,
  options: { readonly explains?: boolean } = {},
): Planned<T> {
  const draft = createDraft(core.view);
  const reserved = new Set<string>();
  const [opened, closed] = [new Set<string>(), new Set<string>()];
  const release = (unsure = false) => {
    for (const key of reserved) core.ledger.set(key, storedClaim(core, key));
    if (unsure) return;
    for (const uid of opened) core.leases.forget(uid);
    for (const uid of closed) core.leases.reopen(uid);
  };
  const world: World = {
    candidate: (name) => candidate(core.view, name),
    onlyNode: () => onlyNode(core.view),
    serviceAddress: (key, uid) => core.serviceAddresses.give(key, uid),
    why: (asked) => (options.explains ? explainLines(core, draft, asked) : []),
    place: (asked) => core.placement.place(draft, asked),
    demand: (asked, perSite, holds) => demandOf(core.placement, core.view, draft, asked, perSite, holds),
    ledger: core.ledger,
    now: new Date(core.clock.nowMs()).toISOString(),
    strict,
    awayMs: (node) => core.absences.awayMs(core.view.get('nodes', node), node),
    isDrained: (node) => core.view.get('nodes', node)?.spec.drain === true,
    leases: {
      graceMs: core.nodeGraceMs,
      leftMs: (lease) => core.leases.leftMs(lease),
      open(uid) {
        opened.add(uid);
        core.leases.open(uid);
      },
      close(uid) {
        closed.add(uid);
        core.leases.close(uid);
      },
    },
    reserve(key, claim) {
      reserved.add(key);
      core.ledger.set(key, claim);
    },
  };
  try {
    return { draft, result: work(draft, world), release };
  } catch (error) {
    release();
    throw error;
  }
}

export interface Committed<T> {
  readonly result: T;
  /** Of the commit; of the view where nothing was to be written. */
  readonly revision: number;
}

/** Plans and commits, alone among the writers of `keys`; plans again when somebody else was first. */
export function change<T>(
  core: Core,
  keys: readonly string[],
  strict: boolean,
  work: (draft: Draft, world: World) => T,
): Promise<Committed<T>> {
  return core.locks.run(keys, async () => {
    for (let attempt = 0; attempt < 20; attempt++) {
      const { draft, result, release } = planOnce(core, strict, work);
      let committed: Awaited<ReturnType<Draft['commit']>>;
      try {
        committed = await draft.commit(core.store);
      } catch (error) {
        release(true);
        throw error;
      }
      if (committed.done) {
        for (const event of draft.events) core.events.emit(event);
        return { result, revision: committed.revision };
      }
      release();
    }
    throw new SkerryError('conflict', 'others changed the same resources again and again');
  });
}
