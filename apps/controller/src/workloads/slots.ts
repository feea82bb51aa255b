/**
 * Which instances a workload is to have, each by its ordinal and, with `replicas.perSite`, the site that it is for. Ordinals
 * of a site stay while it is wanted, so that a name stands for the same place. Pure.
 *
 *   wanted -> nobody wants it there any more -> kept for a while (`keepFor`), and for as long as another one that is wanted
 *     does not serve, or clients have no site at all -> it goes
 */
import {
  type Instance,
  keepUnwantedMs,
  type PerSite,
  type SiteReplicas,
  type Workload,
  type WorkloadSpec,
} from '@skerry/model';
import type { Demand } from '@skerry/placement';
import type { World } from './converge.ts';
import { replaceAfterMs } from './replace.ts';
import { isReady } from './rollout.ts';

export interface Slots {
  /** What is to stay or to be made, with the site that it is bound to. */
  readonly lasting: ReadonlyMap<number, string | undefined>;
  /** What is kept for a while; none of these is made anew. */
  readonly kept: ReadonlySet<number>;
  /** To be stored; `ready` is for the caller to fill in. */
  readonly sites?: readonly SiteReplicas[];
  readonly lookInMs: number;
}

export function plainSlots(replicas: number): Slots {
  const lasting = new Map(Array.from({ length: replicas }, (_, ordinal) => [ordinal, undefined]));
  return { lasting, kept: new Set(), lookInMs: Number.POSITIVE_INFINITY };
}

export interface SlotsRequest {
  readonly perSite: PerSite;
  readonly workload: Workload;
  /** All of them, those that are being removed too. */
  readonly instances: readonly Instance[];
  readonly demand: Demand;
  /** Of a node. */
  readonly siteOf: (node: string) => string | undefined;
  readonly now: string;
}

export function siteSlots(request: SlotsRequest): Slots {
  const { perSite, workload, instances, demand, now } = request;
  const before = workload.status.sites ?? adopted(request);
  const taken = new Set([
    ...instances.map(({ spec }) => spec.ordinal),
    ...before.flatMap(({ ordinals }) => ordinals),
  ]);
  let free = 0;
  const fresh = (): number => {
    while (taken.has(free)) free++;
    taken.add(free);
    return free;
  };
  const known = new Map(before.map((one) => [one.site, one]));
  const lasting = new Map<number, string | undefined>();
  const sites: SiteReplicas[] = [];
  for (const site of demand.sites) {
    const ordinals = (known.get(site)?.ordinals ?? []).slice(0, perSite.perSite);
    while (ordinals.length < perSite.perSite) ordinals.push(fresh());
    for (const ordinal of ordinals) lasting.set(ordinal, site);
    sites.push({ site, wanted: perSite.perSite, ready: 0, ordinals });
    known.delete(site);
  }

  const byOrdinal = new Map(instances.map((one) => [one.spec.ordinal, one]));
  const isWell = (ordinal: number): boolean => {
    const one = byOrdinal.get(ordinal);
    return one !== undefined && !one.metadata.deletedAt && isReady(one);
  };
  const isNeeded =
    workload.control.run === 'running' &&
    (demand.unserved.length > 0 || [...lasting.keys()].some((ordinal) => !isWell(ordinal)));
  const kept = new Set<number>();
  let lookInMs = Number.POSITIVE_INFINITY;
  for (const { site, ordinals, unwantedSince = now } of known.values()) {
    const there = ordinals.filter((ordinal) => {
      const one = byOrdinal.get(ordinal);
      return one?.spec.node !== undefined && !one.metadata.deletedAt;
    });
    // where the time of the machine was set back, it does not begin anew
    const leftMs = Math.min(
      keepUnwantedMs(perSite),
      keepUnwantedMs(perSite) - (Date.parse(now) - Date.parse(unwantedSince)),
    );
    if (there.length === 0 || (leftMs <= 0 && !isNeeded)) continue;
    if (leftMs > 0) lookInMs = Math.min(lookInMs, leftMs);
    for (const ordinal of there) kept.add(ordinal);
    sites.push({ site, wanted: 0, ready: 0, ordinals: there, unwantedSince });
  }
  sites.sort((a, b) => (a.site < b.site ? -1 : 1));
  return { lasting, kept, sites, lookInMs };
}

/** What it has from when it had a number of replicas, by the site of its node. */
function adopted({ instances, siteOf }: SlotsRequest): SiteReplicas[] {
  const bySite = new Map<string, number[]>();
  for (const { spec, metadata } of instances) {
    const site = spec.node === undefined ? undefined : siteOf(spec.node);
    if (site === undefined || metadata.deletedAt || spec.standIn) continue;
    bySite.set(
      site,
      [...(bySite.get(site) ?? []), spec.ordinal].sort((a, b) => a - b),
    );
  }
  return [...bySite].map(([site, ordinals]) => ({ site, wanted: ordinals.length, ready: 0, ordinals }));
}

/** Sites that have it, at a node that is there, or lost for less than it is waited for. */
export function sitesHeld(
  instances: readonly Instance[],
  spec: WorkloadSpec,
  world: Pick<World, 'awayMs' | 'isDrained' | 'candidate'>,
): Set<string> {
  const sites = new Set<string>();
  for (const { spec: own, metadata } of instances) {
    const { node } = own;
    if (node === undefined || metadata.deletedAt || world.isDrained(node)) continue;
    const awayMs = world.awayMs(node);
    if (awayMs !== undefined && awayMs >= replaceAfterMs(spec)) continue;
    const site = world.candidate(node)?.node.spec.site;
    if (site !== undefined) sites.add(site);
  }
  return sites;
}

export function withReady(sites: readonly SiteReplicas[], instances: readonly Instance[]): SiteReplicas[] {
  const well = new Set(instances.filter(isReady).map(({ spec }) => spec.ordinal));
  return sites.map((one) => ({
    ...one,
    ready: one.ordinals.filter((ordinal) => well.has(ordinal)).length,
  }));
}

/** What became different, a sentence each. */
export function siteChanges(
  before: readonly SiteReplicas[] = [],
  after: readonly SiteReplicas[] = [],
): string[] {
  const old = new Map(before.map((one) => [one.site, one]));
  const told: string[] = [];
  for (const { site, wanted } of after) {
    if (wanted > 0 && !old.get(site)?.wanted) told.push(`it is wanted at the site ${site}`);
    if (wanted === 0 && old.get(site)?.wanted)
      told.push(`nobody wants it at the site ${site} any more: it is kept there for a while`);
    old.delete(site);
  }
  for (const site of old.keys()) told.push(`it goes from the site ${site}`);
  return told;
}
