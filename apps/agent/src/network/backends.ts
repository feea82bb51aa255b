/**
 * From what the controller says of a service, and what the node itself knows better, to who receives. Pure.
 *
 *   here and well > nearest other nodes (equals share) > farther ones > those of which the controller has lost sight, and that
 *   are reached from here                                                  not well, or node unreachable: nothing new
 */
import type { DesiredInstance, ServiceEndpoint, ServiceRoute } from '@skerry/contract';
import type { Id, InstanceStatus } from '@skerry/model';
import type { NetworkService, ServiceBackend } from '@skerry/network';

export interface Knowledge {
  /** The node's own name. */
  readonly node: string;
  /** What is to be here, by the desired state. */
  readonly instances: readonly DesiredInstance[];
  /** Undefined: there is no such instance here. */
  readonly status: (uid: Id<'instance'>) => Pick<InstanceStatus, 'phase' | 'health'> | undefined;
  /** False: the node does not answer, as measured from here. */
  readonly reachable: (node: string) => boolean;
  /** False: guests of this node have none. */
  readonly ipv6?: boolean;
  /** As measured from here; undefined where nothing was: then the controller's word counts. */
  readonly oneWayUs?: (node: string) => number | undefined;
}

/** Differences that are noise: below them, nodes count as equally near. */
const EQUAL_US = 500;
const EQUAL_SHARE = 0.1;

/** A name of DNS below `edge`. */
export const serviceName = ({ name, project }: Pick<ServiceRoute, 'name' | 'project'>): string =>
  `${name}.${project}.edge`;

/** Tier of each latency, from 1: a tier begins with the nearest that is left, and all that are nearly as near belong to it. */
export function tiersOf(latenciesUs: readonly number[]): Map<number, number> {
  const tiers = new Map<number, number>();
  let tier = 0;
  let untilUs = Number.NEGATIVE_INFINITY;
  for (const us of latenciesUs.toSorted((a, b) => a - b)) {
    if (us > untilUs) {
      tier++;
      untilUs = us + Math.max(EQUAL_US, us * EQUAL_SHARE);
    }
    tiers.set(us, tier);
  }
  return tiers;
}

interface Addresses {
  readonly address: string;
  readonly address6?: string;
}
const addressesOf = ({ address, address6 }: Addresses): Addresses => ({
  address,
  ...(address6 !== undefined && { address6 }),
});

/** The instances of the service that are here: those that are listed, and those that the controller has yet to hear of. */
function hereOf(route: ServiceRoute, { node, instances, ipv6 = true }: Knowledge) {
  const here = new Map<Id<'instance'>, Addresses>(
    route.endpoints.filter((endpoint) => endpoint.node === node).map((one) => [one.uid, addressesOf(one)]),
  );
  for (const { uid, spec } of instances) {
    if (spec.workloadUid !== route.uid || !spec.network) continue;
    const { address, address6 } = spec.network;
    // guests of a service that has an address of IPv6 surely have those that they were given
    const isSure = ipv6 && route.address6 !== undefined && address6 !== undefined;
    here.set(uid, { address, ...(isSure && { address6 }) });
  }
  return here;
}

function ownBackends(route: ServiceRoute, knowledge: Knowledge): ServiceBackend[] {
  const deleted = new Set(knowledge.instances.filter((one) => one.deleted).map(({ uid }) => uid));
  return [...hereOf(route, knowledge)].flatMap(([uid, addresses]) => {
    const status = knowledge.status(uid);
    // What does not run has no connections to keep.
    if (!status || (status.phase !== 'running' && status.phase !== 'stopping')) return [];
    const open = status.phase === 'running' && status.health !== 'unhealthy' && !deleted.has(uid);
    return [{ uid, ...addresses, tier: 0, open }];
  });
}

function otherBackends(
  endpoints: readonly ServiceEndpoint[],
  { node, reachable, oneWayUs }: Knowledge,
): ServiceBackend[] {
  const others = endpoints.filter((endpoint) => endpoint.node !== node);
  const latencyOf = (endpoint: ServiceEndpoint) => oneWayUs?.(endpoint.node) ?? endpoint.latencyUs;
  const tiers = tiersOf(others.map(latencyOf));
  const lastTier = tiers.size + 1;
  // That the node answers must have been seen from here: nobody else says so.
  const isSeen = (endpoint: ServiceEndpoint) =>
    endpoint.lost === true && oneWayUs?.(endpoint.node) !== undefined;
  return others.map((endpoint) => ({
    ...{ uid: endpoint.uid, ...addressesOf(endpoint) },
    tier: endpoint.lost ? lastTier : tiers.get(latencyOf(endpoint))!,
    open: (endpoint.healthy || isSeen(endpoint)) && reachable(endpoint.node),
  }));
}

export function servicesOf(routes: readonly ServiceRoute[], knowledge: Knowledge): NetworkService[] {
  return routes.map((route) => ({
    uid: route.uid,
    names: [serviceName(route)],
    ...addressesOf(route),
    ports: route.ports,
    backends: [...ownBackends(route, knowledge), ...otherBackends(route.endpoints, knowledge)],
  }));
}
