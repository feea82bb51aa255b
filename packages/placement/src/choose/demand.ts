/**
 * The sites where clients want a workload: for each access point that has some, the nearest site that takes it. Pure: which
 * sites take it is told.
 */
import type { World } from '../place/context.ts';

export interface Demand {
  /** Names, sorted, each once. */
  readonly sites: readonly string[];
  /** Access points for which no site takes it, within the bound. */
  readonly unserved: readonly string[];
}

export interface DemandRequest {
  readonly accessPoints: Iterable<string>;
  /** One way, from the access point to the site. Default: no bound. */
  readonly maxLatencyMs?: number;
  /** Asked once for a site at the most. */
  takes(site: string): boolean;
}

export function sitesByDemand(
  { topology, fleet }: Pick<World, 'topology' | 'fleet'>,
  { accessPoints, maxLatencyMs = Number.POSITIVE_INFINITY, takes }: DemandRequest,
): Demand {
  const answers = new Map<string, boolean>();
  const doesTake = (site: string): boolean => {
    let answer = answers.get(site);
    if (answer === undefined) {
      answer = takes(site);
      answers.set(site, answer);
    }
    return answer;
  };
  const nearest = (accessPoint: string): string | undefined => {
    if (!topology.has(accessPoint)) return undefined;
    const order = topology.order(accessPoint);
    for (let place = 0; ; place++) {
      const number = order.site(place);
      if (number < 0 || order.latencyMs(place) > maxLatencyMs) return undefined;
      const site = fleet.sites.name(number)!;
      if (doesTake(site)) return site;
    }
  };
  const sites = new Set<string>();
  const unserved: string[] = [];
  for (const accessPoint of new Set(accessPoints)) {
    const site = nearest(accessPoint);
    if (site === undefined) unserved.push(accessPoint);
    else sites.add(site);
  }
  return { sites: [...sites].sort(), unserved: unserved.sort() };
}
