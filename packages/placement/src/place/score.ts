/** Which of two nodes that will do is the better. One order for placing and explaining. */
import type { Context } from './context.ts';
import type { Score } from './request.ts';

export interface Scored extends Score {
  readonly node: number;
}

export function scoreOf(context: Context, node: number, latencyMs: number): Scored {
  const { fleet, group, request } = context;
  const sameWorkloadOnNode = fleet.countAtNode(group, node);
  const beside =
    request.spread === 'site'
      ? fleet.countAtSite(group, fleet.columns.site[node]!)
      : request.spread === 'node'
        ? sameWorkloadOnNode
        : 0;
  return {
    node,
    beside,
    latencyMs,
    sameWorkloadOnNode,
    memoryFreeBytes: fleet.columns.memoryFreeBytes[node]!,
  };
}

/** Below 0 when `a` is the better. */
export const compareScores = (a: Scored, b: Scored): number =>
  a.beside - b.beside ||
  a.latencyMs - b.latencyMs ||
  a.sameWorkloadOnNode - b.sameWorkloadOnNode ||
  b.memoryFreeBytes - a.memoryFreeBytes ||
  a.node - b.node;
