/** The choice of sites in the world as it is: which sites a workload should be at, and how many of it at each. Decides nothing about nodes. */
import type { World } from '../place/context.ts';
import { merged } from '../place/context.ts';
import type { Placer } from '../place/placer.ts';
import type { Near, PlaceRequest } from '../place/request.ts';
import { type ChooseOptions, chooseSites } from './choose.ts';

export interface SiteShare {
  readonly accessPoint: string;
  readonly weight: number;
  readonly latencyMs: number;
}
export interface ChosenSite {
  readonly site: string;
  /** The access points that it serves, for the `near` of the replica that goes there. */
  readonly serves: readonly SiteShare[];
}
export interface SiteChoice {
  readonly sites: readonly ChosenSite[];
  readonly totalMs: number;
  readonly worstMs: number;
  /** What no chosen site can serve within capacity and bound. */
  readonly unserved: readonly { readonly accessPoint: string; readonly weight: number }[];
}

export interface ReplicasRequest {
  readonly near: readonly Near[];
  readonly replicas: number;
  /** Candidates; default all sites with a node that takes instances. */
  readonly sites?: readonly string[];
  /** Weight that one replica can serve; default no bound. */
  readonly capacity?: number;
  readonly maxLatencyMs?: number;
}

/** Sites for `replicas` replicas, with what each should serve. Errors: not_found (an access point), request_invalid. */
export function chooseReplicaSites(
  { topology, fleet }: World,
  request: ReplicasRequest,
  options: ChooseOptions = {},
): SiteChoice {
  const candidates: number[] = [];
  for (let site = 0; site < fleet.sites.size; site++)
    if (
      (fleet.at(site)?.ranking.greatest ?? Number.NEGATIVE_INFINITY) >= 0 &&
      (!request.sites || request.sites.includes(fleet.sites.name(site)))
    )
      candidates.push(site);
  const column = new Map(candidates.map((site, at) => [site, at]));
  const clients = [...merged(request.near)];
  const bound = request.maxLatencyMs ?? Number.POSITIVE_INFINITY;
  const latencyMs = new Float64Array(clients.length * candidates.length).fill(Number.POSITIVE_INFINITY);
  clients.forEach(([accessPoint], client) => {
    const order = topology.order(accessPoint);
    let missing = candidates.length;
    for (let place = 0; missing > 0; place++) {
      const site = order.site(place);
      if (site < 0 || order.latencyMs(place) > bound) break;
      const at = column.get(site);
      if (at === undefined) continue;
      latencyMs[client * candidates.length + at] = order.latencyMs(place);
      missing--;
    }
  });
  const choice = chooseSites(
    {
      sites: candidates.length,
      weights: clients.map(([, weight]) => weight),
      latencyMs,
      replicas: request.replicas,
      ...(request.capacity !== undefined && { capacities: candidates.map(() => request.capacity!) }),
    },
    options,
  );
  const serves = new Map<number, SiteShare[]>(choice.sites.map((site) => [site, []]));
  const unserved: { accessPoint: string; weight: number }[] = [];
  for (const { client, site, weight } of choice.served) {
    const accessPoint = clients[client]![0];
    if (site < 0) unserved.push({ accessPoint, weight });
    else
      serves
        .get(site)!
        .push({ accessPoint, weight, latencyMs: latencyMs[client * candidates.length + site]! });
  }
  return {
    sites: [...serves].map(([site, shares]) => ({
      site: fleet.sites.name(candidates[site]!),
      serves: shares,
    })),
    totalMs: choice.totalMs,
    worstMs: choice.worstMs,
    unserved,
  };
}

export interface PerSite {
  readonly site: string;
  readonly replicas: number;
  readonly serves: readonly string[];
}

/**
 * `perSite` replicas at each site that is the nearest, with room for the workload, to an access point with clients. Where
 * the workload is already counts as having room: what serves well is not moved because its own site is full of it.
 * Access points that nothing can be near to are left out.
 */
export function replicasPerSite(
  { topology, fleet }: World,
  placer: Placer,
  template: PlaceRequest,
  perSite: number,
): PerSite[] {
  const serves = new Map<string, string[]>();
  const group = fleet.groups.number(template.workload);
  const { spread: _, near = [], ...request } = template;
  for (const accessPoint of merged(near).keys()) {
    const placement = placer.place({ ...request, near: [{ accessPoint }], preempt: false });
    let chosen = placement.outcome === 'placed' ? placement.site : undefined;
    const order = topology.order(accessPoint);
    const bound = template.maxLatencyMs ?? Number.POSITIVE_INFINITY;
    for (let place = 0; ; place++) {
      const site = order.site(place);
      if (site < 0 || order.latencyMs(place) > bound || fleet.sites.name(site) === chosen) break;
      if (fleet.countAtSite(group, site) === 0) continue;
      chosen = fleet.sites.name(site);
      break;
    }
    if (chosen === undefined || topology.kindOf(chosen) !== 'site') continue;
    serves.set(chosen, [...(serves.get(chosen) ?? []), accessPoint]);
  }
  return [...serves].map(([site, accessPoints]) => ({ site, replicas: perSite, serves: accessPoints }));
}
