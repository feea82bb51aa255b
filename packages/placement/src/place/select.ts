/**
 * The best node of all, without looking at all: sites come in order of latency, nodes of a site in order of free memory,
 * and the search ends where nothing better can follow.
 */
import { passes } from './checks.ts';
import type { Context } from './context.ts';
import { UNREACHED_MS } from './near-order.ts';
import { compareScores, type Scored, scoreOf } from './score.ts';

/** Up to this many sites are counted, to know the least that spreading can reach. */
const FEW_SITES = 64;

/** The least `beside` that any node can have. */
function leastBeside({ fleet, group, request }: Context): number {
  if (request.spread !== 'site' || fleet.sites.size > FEW_SITES || fleet.total(group) === 0) return 0;
  let least = Number.POSITIVE_INFINITY;
  for (let site = 0; site < fleet.sites.size; site++)
    if ((fleet.at(site)?.nodes.length ?? 0) > 0) least = Math.min(least, fleet.countAtSite(group, site));
  return Number.isFinite(least) ? least : 0;
}

export function selectBest(context: Context): Scored | undefined {
  const { fleet, near, request, group } = context;
  const least = leastBeside(context);
  let best: Scored | undefined;
  const offer = (found: Scored) => {
    if (!best || compareScores(found, best) < 0) best = found;
  };
  /** The nodes that follow have less free memory: one that has none of the workload can not be beaten by them. */
  const settled = (found: Scored) =>
    found.sameWorkloadOnNode === 0 && (request.spread !== 'site' || found.beside <= least);

  const lookAtSite = (site: number, latencyMs: number) => {
    const place = fleet.at(site);
    if (!place || place.ranking.greatest < request.memoryBytes) return;
    if (best && request.spread === 'site' && fleet.countAtSite(group, site) > best.beside) return;
    place.ranking.descend(request.memoryBytes, (position) => {
      const node = place.nodes[position]!;
      if (!passes(context, node)) return false;
      const found = scoreOf(context, node, latencyMs);
      offer(found);
      return found.sameWorkloadOnNode === 0;
    });
  };

  if (near) {
    for (let at = 0; ; at++) {
      const site = near.site(at);
      if (site < 0) break;
      const latencyMs = near.meanMs(at);
      // No access point is farther than the farthest: beyond the bound in the mean, beyond it at all.
      if (latencyMs > context.maxLatencyMs) return best;
      if (best && best.beside <= least && latencyMs > best.latencyMs) return best;
      if (!(near.worstMs(at) <= context.maxLatencyMs)) continue;
      if (context.atSites && !context.atSites.has(site)) continue;
      lookAtSite(site, latencyMs);
    }
    if (context.maxLatencyMs !== Number.POSITIVE_INFINITY) return best;
    if (best && best.beside <= least && best.latencyMs < UNREACHED_MS) return best;
  }
  fleet.ranking.descend(request.memoryBytes, (node) => {
    if (near && near.placeOf(fleet.columns.site[node]!) >= 0) return false;
    if (!passes(context, node)) return false;
    const found = scoreOf(context, node, near ? UNREACHED_MS : 0);
    offer(found);
    return settled(found);
  });
  return best;
}
