/**
 * Moves what would be nearer to its clients elsewhere, since clients, links or nodes have changed. Placement proposes, with
 * gain and cost; here it is done: an instance is told to leave its node, and another one serves before it goes. By hand
 * for all workloads, by itself for those that ask for it.
 */
import type { Rebalance } from '@skerry/contract';
import { asSkerryError, type Device, type Instance, perSiteOf, type Workload } from '@skerry/model';
import { createRebalancer, type Movable, REBALANCE_DEFAULTS, type Rebalancer } from '@skerry/placement';
import { type Core, change } from '../core.ts';
import { hasMoved } from '../devices/place.ts';
import { createDraft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { touched } from '../state/resource.ts';
import { requestOf } from './request.ts';

/** Several changes of a network come together. */
const SETTLE_MS = 1000;
/** Of one that serves before the other one goes: clients lose at most a connection that they make again. */
const HANDED_OVER_MS = 50;
/** Of one that may never be there twice: a start of any kind takes less. */
const RESTARTED_MS = 5000;

export interface Rebalancing {
  plan(): Rebalance;
  /** Does what `plan` proposes now. */
  apply(): Promise<Rebalance>;
  start(): void;
  stop(): void;
}

const isAutomatic = ({ spec }: Workload): boolean => spec.placement?.rebalance === 'automatic';

function mayMove(instance: Instance, workload: Workload): boolean {
  const { spec, status, metadata } = instance;
  if (metadata.deletedAt || spec.standIn || spec.leaving || spec.node === undefined) return false;
  if (workload.metadata.deletedAt || workload.spec.move === 'never') return false;
  // it is for its site
  if (perSiteOf(workload.spec)) return false;
  return status.phase === 'running' && (workload.spec.volumes ?? []).length === 0;
}

export function createRebalancing(core: Core): Rebalancing {
  const { view, clock, logger, placement } = core;
  const world = { topology: placement.topology, fleet: placement.live.fleet };
  // What people ask for is done when they ask: it need not have paid for a while.
  const byHand = createRebalancer(world, placement.placer, { holdMs: 0 });
  const byItself = createRebalancer(world, placement.placer);
  let cancel: (() => void) | undefined;
  let isRunning = false;

  const movables = (fits: (workload: Workload) => boolean): Movable[] => {
    const draft = createDraft(view);
    const found: Movable[] = [];
    for (const workload of view.all('workloads')) {
      const { project, name } = workload.metadata as { project: string; name: string };
      if (workload.spec.placement?.near === undefined || !fits(workload)) continue;
      const interruptionMs = workload.spec.singleInstance ? RESTARTED_MS : HANDED_OVER_MS;
      for (const instance of view.instancesOf(project, name)) {
        if (!mayMove(instance, workload)) continue;
        const asked = { project, workload: name, name: instance.metadata.name, spec: workload.spec };
        const request = requestOf(draft, view, asked);
        const isKnown = request.near?.every(({ accessPoint }) => placement.topology.has(accessPoint));
        if (isKnown && request.near!.length > 0) found.push({ request, interruptionMs });
      }
    }
    return found;
  };
  const planned = (rebalancer: Rebalancer, fits: (workload: Workload) => boolean): Rebalance => {
    const { moves, held } = rebalancer.plan(movables(fits), clock.monotonicMs());
    return {
      moves: moves.map(({ taking: _, ...move }) => ({
        ...move,
        fromLatencyMs: finite(move.fromLatencyMs),
        toLatencyMs: finite(move.toLatencyMs),
      })),
      held: [...held],
    };
  };
  const leave = async (rebalancer: Rebalancer, { moves }: Rebalance): Promise<void> => {
    for (const { key, to, fromLatencyMs, toLatencyMs, because } of moves) {
      const [project = '', name = ''] = key.split('/');
      const known = view.get('instances', project, name);
      if (!known) continue;
      await change(core, [keyOf('workloads', project, known.spec.workload)], false, (draft, { now }) => {
        const stored = draft.get('instances', project, name);
        if (!stored || stored.metadata.deletedAt || stored.metadata.uid !== known.metadata.uid) return;
        draft.put(keyOf('instances', project, name), {
          ...stored,
          metadata: touched(stored.metadata, now, { spec: false }),
          spec: { ...stored.spec, leaving: true },
        });
        const why =
          because ??
          `${toLatencyMs.toFixed(1)} ms from its clients rather than ${fromLatencyMs.toFixed(1)} ms`;
        const message = `instance ${name} moves from ${stored.spec.node} to ${to}: ${why}`;
        const about = { kind: 'Instance', project, name, uid: stored.metadata.uid };
        draft.event({ type: 'normal', reason: 'Moving', message, about });
      });
      rebalancer.moved(key, clock.monotonicMs());
    }
  };

  const look = async (): Promise<void> => {
    cancel = undefined;
    const plan = planned(byItself, isAutomatic);
    await leave(byItself, plan);
    if (plan.held.some(({ code }) => code === 'too_new')) lookIn(REBALANCE_DEFAULTS.holdMs);
  };
  const lookIn = (ms: number) => {
    if (!isRunning || cancel) return;
    cancel = clock.after(ms, () => {
      look().catch((error) => {
        logger.warn({ err: asSkerryError(error) }, 'rebalancing failed and is tried again');
        lookIn(REBALANCE_DEFAULTS.holdMs);
      });
    });
  };
  view.onChange(({ collection, before, after }) => {
    if (collection === 'nodes') {
      const [was, is] = [before, after] as { status?: { phase?: string } }[];
      if (was?.status?.phase === is?.status?.phase) return;
    } else if (collection === 'devices') {
      if (!hasMoved(...([before, after] as [Device | undefined, Device | undefined]))) return;
    } else if (!['sites', 'access-points', 'links', 'clients', 'workloads'].includes(collection)) return;
    lookIn(SETTLE_MS);
  });

  const everything = () => true;
  return {
    plan: () => planned(byHand, everything),
    async apply() {
      const plan = planned(byHand, everything);
      await leave(byHand, plan);
      return plan;
    },
    start() {
      isRunning = true;
      lookIn(SETTLE_MS);
    },
    stop() {
      isRunning = false;
      cancel?.();
      cancel = undefined;
    },
  };
}

/** What can't be reached counts as ten seconds, as placement counts it; JSON has no infinity. */
const finite = (ms: number) => (Number.isFinite(ms) ? ms : 10_000);
