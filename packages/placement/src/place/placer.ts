/**
 * Places instances: `place` finds the best node for a request, `explain` tells for every node why or why not. Both go by
 * the same checks and the same score, so they never disagree. Neither changes the fleet: taking is the caller's.
 */
import type { Taking } from '../fleet/node.ts';
import { memoryNeeded, reasonsOf } from './checks.ts';
import { type Context, contextOf, createNearCache, type World } from './context.ts';
import { planPreemption } from './preempt.ts';
import { refuse } from './refuse.ts';
import type { Ended, Placement, PlaceRequest, Reason, Score } from './request.ts';
import { compareScores, type Scored, scoreOf } from './score.ts';
import { selectBest } from './select.ts';

export interface NodeVerdict {
  readonly node: string;
  readonly site: string;
  readonly fits: boolean;
  /** Whether it is the one. */
  readonly chosen: boolean;
  /** Every check that fails; empty when it fits. */
  readonly reasons: readonly Reason[];
  readonly score: Score;
  /** From the farthest access point; Infinity when one can not reach it, 0 without `near`. */
  readonly worstLatencyMs: number;
}

export interface Explanation {
  /** What `place` answers. */
  readonly placement: Placement;
  /** Every node: those that fit first, the best first; then the others by name. */
  readonly nodes: readonly NodeVerdict[];
}

export interface Placer {
  /** Errors: not_found (an access point of `near`), request_invalid (a number below 0). */
  place(request: PlaceRequest): Placement;
  /** Errors: as `place`. */
  explain(request: PlaceRequest): Explanation;
  /** Of one node; undefined when there is no such node. Errors: as `place`. */
  judge(request: PlaceRequest, node: string): NodeVerdict | undefined;
}

export function createPlacer(world: World): Placer {
  const { fleet } = world;
  const cache = createNearCache(world.topology);

  /** What the instance has already counts as free meanwhile. */
  const without = <T>(key: string, decide: () => T): T => {
    const own = fleet.get(key);
    if (!own) return decide();
    fleet.give(key);
    try {
      return decide();
    } finally {
      fleet.put(own);
    }
  };
  const decide = (context: Context): Placement => {
    const best = selectBest(context);
    if (best) return placed(context, best, []);
    if (context.request.preempt) {
      const plan = planPreemption(context);
      if (plan)
        return placed(
          context,
          plan.scored,
          plan.ends.map(({ key, priority, memoryBytes }) => ({ key, priority, memoryBytes })),
        );
    }
    return refuse(context);
  };

  return {
    place: (request) => without(request.key, () => decide(contextOf(world, cache, request))),
    explain: (request) =>
      without(request.key, () => {
        const context = contextOf(world, cache, request);
        const placement = decide(context);
        const judged: Judged[] = [];
        for (let node = 0; node < fleet.nodes; node++)
          if (fleet.columns.present[node])
            judged.push(
              judge(
                context,
                node,
                placement.outcome === 'placed' && placement.node === fleet.node(node).name,
              ),
            );
        judged.sort((a, b) => {
          if (a.verdict.fits !== b.verdict.fits) return a.verdict.fits ? -1 : 1;
          if (a.verdict.fits) return compareScores(a.scored, b.scored);
          return a.verdict.node < b.verdict.node ? -1 : 1;
        });
        return { placement, nodes: judged.map(({ verdict }) => verdict) };
      }),
    judge: (request, name) =>
      without(request.key, () => {
        const node = fleet.find(name);
        return node < 0 ? undefined : judge(contextOf(world, cache, request), node, false).verdict;
      }),
  };
}

interface Judged {
  readonly verdict: NodeVerdict;
  readonly scored: Scored;
}

function judge(context: Context, node: number, chosen: boolean): Judged {
  const { fleet } = context;
  const site = fleet.columns.site[node]!;
  const scored = scoreOf(context, node, context.latencyMs(site));
  const reasons = reasonsOf(context, node);
  return {
    scored,
    verdict: {
      node: fleet.node(node).name,
      site: fleet.sites.name(site),
      fits: reasons.length === 0,
      chosen,
      reasons,
      score: plain(scored),
      worstLatencyMs: context.worstMs(site),
    },
  };
}

const plain = ({ beside, latencyMs, sameWorkloadOnNode, memoryFreeBytes }: Scored): Score => ({
  beside,
  latencyMs,
  sameWorkloadOnNode,
  memoryFreeBytes,
});

function placed(context: Context, scored: Scored, ends: readonly Ended[]): Placement {
  const { fleet } = context;
  const { name } = fleet.node(scored.node);
  return {
    outcome: 'placed',
    node: name,
    site: fleet.sites.name(fleet.columns.site[scored.node]!),
    taking: takingOf(context, scored.node, name),
    score: plain(scored),
    ends,
  };
}

function takingOf(context: Context, node: number, name: string): Taking {
  const { request } = context;
  return {
    node: name,
    cpus: request.cpus,
    memoryBytes: memoryNeeded(context, node),
    diskBytes: request.diskBytes,
    ...(request.ports && { ports: request.ports }),
    groups: request.groups ? [request.workload, ...request.groups] : [request.workload],
    ...(request.antiAffinity && { repels: request.antiAffinity }),
    ...(request.priority !== undefined && { priority: request.priority }),
  };
}
