/** A request with its names turned into numbers, and the order of sites that it goes by. Holds for one decision. */
import { RUNTIME_KINDS, SkerryError } from '@skerry/model';
import { MILLI } from '../fleet/columns.ts';
import { type Fleet, pairOf } from '../fleet/fleet.ts';
import type { GroupTerm } from '../fleet/node.ts';
import type { Topology } from '../topology/topology.ts';
import { createNearOrder, type NearOrder, UNREACHED_MS } from './near-order.ts';
import type { Near, PlaceRequest } from './request.ts';

export interface World {
  readonly topology: Topology;
  /** Made with the topology's `sites`. */
  readonly fleet: Fleet;
}

export interface Term extends GroupTerm {
  readonly number: number;
}

export interface Context {
  readonly fleet: Fleet;
  readonly topology: Topology;
  readonly request: PlaceRequest;
  readonly kind: number;
  readonly cpuMilli: number;
  /** Of the workload. */
  readonly group: number;
  /** All that the instance will be counted in, the workload's first. */
  readonly groups: readonly number[];
  /** Label pairs that a node must have. */
  readonly wanted: readonly number[];
  readonly tolerated: ReadonlySet<number> | undefined;
  readonly affinity: readonly Term[];
  readonly antiAffinity: readonly Term[];
  readonly atSites: ReadonlySet<number> | undefined;
  readonly near: NearOrder | undefined;
  readonly maxLatencyMs: number;
  /** Weighted mean from `near` to a site; 0 without `near`. Finds all sites. */
  latencyMs(site: number): number;
  worstMs(site: number): number;
}

/** Weights of the same access point are added; those without weight are left out. */
export function merged(near: readonly Near[]): Map<string, number> {
  const weights = new Map<string, number>();
  for (const { accessPoint, weight = 1 } of near)
    if (weight > 0) weights.set(accessPoint, (weights.get(accessPoint) ?? 0) + weight);
  return weights;
}

/** Orders of several access points, kept while the network stays as it is. */
export interface NearCache {
  get(near: readonly Near[] | undefined): NearOrder | undefined;
}

const KEPT_ORDERS = 256;

export function createNearCache(topology: Topology): NearCache {
  const kept = new Map<string, NearOrder>();
  let version = -1;
  return {
    get(near) {
      if (!near || near.length === 0) return undefined;
      const [only] = near;
      if (only && near.length === 1)
        return only.weight === 0
          ? undefined
          : createNearOrder([{ order: topology.order(only.accessPoint), weight: 1 }]);
      const weights = merged(near);
      if (weights.size === 0) return undefined;
      if (version !== topology.version) kept.clear();
      version = topology.version;
      const key = JSON.stringify([...weights]);
      let order = kept.get(key);
      if (!order) {
        order = createNearOrder(
          [...weights].map(([accessPoint, weight]) => ({ order: topology.order(accessPoint), weight })),
        );
        if (kept.size >= KEPT_ORDERS) kept.delete(kept.keys().next().value!);
        kept.set(key, order);
      }
      return order;
    },
  };
}

const NO_TERMS: readonly Term[] = [];
const NO_NUMBERS: readonly number[] = [];

/** Errors: not_found (an access point of `near`), request_invalid (a number below 0). */
export function contextOf(world: World, cache: NearCache, request: PlaceRequest): Context {
  const { fleet, topology } = world;
  for (const field of ['cpus', 'memoryBytes', 'diskBytes'] as const)
    if (!(request[field] >= 0))
      throw new SkerryError(
        'request_invalid',
        `${field} of ${request.key} is ${request[field]}: it must be 0 or more`,
      );
  const near = cache.get(request.near);
  const group = fleet.groups.number(request.workload);
  const term = ({ group: name, at }: GroupTerm): Term => ({
    group: name,
    at,
    number: fleet.groups.number(name),
  });
  const { nodeSelector, tolerations, atSites } = request;
  return {
    fleet,
    topology,
    request,
    kind: RUNTIME_KINDS.indexOf(request.runtime),
    cpuMilli: Math.round(request.cpus * MILLI),
    group,
    groups: request.groups ? [group, ...request.groups.map((name) => fleet.groups.number(name))] : [group],
    wanted: nodeSelector
      ? Object.entries(nodeSelector).map(([key, value]) => fleet.pairs.number(pairOf(key, value)))
      : NO_NUMBERS,
    tolerated: tolerations && tolerations.length > 0 ? toleratedPairs(fleet, tolerations) : undefined,
    affinity: request.affinity?.map(term) ?? NO_TERMS,
    antiAffinity: request.antiAffinity?.map(term) ?? NO_TERMS,
    atSites: atSites && new Set(atSites.map((site) => fleet.sites.number(site))),
    near,
    maxLatencyMs:
      near && request.maxLatencyMs !== undefined ? request.maxLatencyMs : Number.POSITIVE_INFINITY,
    latencyMs: (site) => {
      if (!near) return 0;
      const place = near.placeOf(site);
      return place < 0 ? UNREACHED_MS : near.meanMs(place);
    },
    worstMs: (site) => {
      if (!near) return 0;
      const place = near.placeOf(site);
      return place < 0 ? Number.POSITIVE_INFINITY : near.worstMs(place);
    },
  };
}

/** All pairs that are tolerated: one for a toleration with a value, every known one of the key for one without. */
function toleratedPairs(fleet: Fleet, tolerations: NonNullable<PlaceRequest['tolerations']>): Set<number> {
  const pairs = new Set<number>();
  for (const { key, value } of tolerations) {
    if (value !== undefined) pairs.add(fleet.pairs.number(pairOf(key, value)));
    else
      for (let number = 0; number < fleet.pairs.size; number++)
        if (fleet.pairs.name(number).startsWith(`${key}=`)) pairs.add(number);
  }
  return pairs;
}
