/**
 * The sites in order of weighted mean latency from several access points, found as deep as somebody asks. All orders are
 * read together, the nearest next site first; a site is given out once no other can have a lesser mean (the "no random
 * access" algorithm of Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware", 2003).
 */
import type { SiteOrder } from '../topology/site-order.ts';

/** What an access point that can not reach a site counts with. */
export const UNREACHED_MS = 10_000;

/** Means are rounded to a nanosecond, so that they do not depend on the order in which they were summed up. */
const STEPS = 1e6;
const rounded = (ms: number): number => Math.round(ms * STEPS) / STEPS;

/** Sites by which one step of reading goes on. */
const STRIDE = 8;

export interface NearSource {
  readonly order: SiteOrder;
  /** Above 0. */
  readonly weight: number;
}

export interface NearOrder {
  /** -1 when no more sites are reached by any access point. */
  site(place: number): number;
  meanMs(place: number): number;
  /** From the farthest access point; Infinity when one can not reach it. */
  worstMs(place: number): number;
  /** The place of a site; -1 when no access point reaches it. Looks as far as that site. */
  placeOf(site: number): number;
}

export function createNearOrder(sources: readonly NearSource[]): NearOrder {
  const [only] = sources;
  const places = new Map<number, number>();
  const placeOf = (order: NearOrder, site: number) => {
    for (let place = places.size; !places.has(site) && order.site(place) >= 0; place++)
      places.set(order.site(place), place);
    return places.get(site) ?? -1;
  };
  if (only && sources.length === 1) {
    const single: NearOrder = {
      site: only.order.site,
      meanMs: only.order.latencyMs,
      worstMs: only.order.latencyMs,
      placeOf: (site) => placeOf(single, site),
    };
    return single;
  }

  const total = sources.reduce((sum, { weight }) => sum + weight, 0);
  const cursors = new Int32Array(sources.length);
  const seen = new Map<number, { site: number; sum: number; weight: number; worst: number; count: number }>();
  let found: { site: number; mean: number; worst: number }[] = [];
  let final = 0;
  let events = 0;
  let done = false;
  let radius = 0;

  /** Reads on in all orders up to where at least `count` more sites were met. */
  const read = (count: number) => {
    for (let target = events + count; events < target; ) {
      let nearest = Number.POSITIVE_INFINITY;
      let first = -1;
      for (let at = 0; at < sources.length; at++) {
        const { order } = sources[at]!;
        if (order.site(cursors[at]!) < 0) continue;
        const latencyMs = order.latencyMs(cursors[at]!);
        if (latencyMs >= nearest) continue;
        nearest = latencyMs;
        first = at;
      }
      if (nearest === Number.POSITIVE_INFINITY) {
        done = true;
        return;
      }
      // Some sites farther in the order that is nearest, so that a step reads neither a single site nor a whole city.
      const { order } = sources[first]!;
      let ahead = cursors[first]!;
      while (ahead < cursors[first]! + STRIDE && order.site(ahead + 1) >= 0) ahead++;
      radius = order.latencyMs(ahead);
      for (let at = 0; at < sources.length; at++) {
        const { order, weight } = sources[at]!;
        for (;;) {
          const site = order.site(cursors[at]!);
          if (site < 0) break;
          const latencyMs = order.latencyMs(cursors[at]!);
          if (latencyMs > radius) break;
          cursors[at]!++;
          events++;
          const entry = seen.get(site) ?? { site, sum: 0, weight: 0, worst: 0, count: 0 };
          seen.set(site, entry);
          entry.sum += weight * latencyMs;
          entry.weight += weight;
          entry.worst = Math.max(entry.worst, latencyMs);
          entry.count++;
        }
      }
    }
  };
  const order = () => {
    const bound = done ? Number.POSITIVE_INFINITY : radius;
    let least = bound;
    found = [];
    for (const { site, sum, weight, worst, count } of seen.values()) {
      if (count === sources.length) found.push({ site, mean: rounded(sum / total), worst });
      else if (done)
        found.push({
          site,
          mean: rounded((sum + (total - weight) * UNREACHED_MS) / total),
          worst: Number.POSITIVE_INFINITY,
        });
      else least = Math.min(least, (sum + (total - weight) * radius) / total);
    }
    found.sort((a, b) => a.mean - b.mean || a.site - b.site);
    final = 0;
    while (final < found.length && (done || found[final]!.mean < least - 10 / STEPS)) final++;
  };

  const several: NearOrder = {
    site(place) {
      while (place >= final) {
        if (done) return -1;
        read(Math.max(16, events >> 1));
        order();
      }
      return found[place]!.site;
    },
    meanMs: (place) => found[place]!.mean,
    worstMs: (place) => found[place]!.worst,
    placeOf: (site) => placeOf(several, site),
  };
  return several;
}
