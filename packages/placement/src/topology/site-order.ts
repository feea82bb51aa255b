/**
 * The sites in order of latency from one access point: what the model says, corrected by what was measured. Found as deep
 * as somebody asks. A site is given out only when no site that is not known yet could come before it.
 */
import { atLeast } from '../growing.ts';
import type { Search, Searcher } from './search.ts';

export interface Measured {
  /** One way: half of the round trip. */
  readonly latencyMs: number;
  readonly atMs: number;
  /** False once the path that was measured may have changed: it is shown still, and no longer believed. */
  current: boolean;
}

export interface SiteOrder {
  /** The number of the site in that place, 0 for the nearest; -1 when no more sites can be reached. */
  site(place: number): number;
  /** Of a place for which `site` gave a site. */
  latencyMs(place: number): number;
}

/** Vertices that the first look settles. */
const FIRST = 32;

export interface OrderParts {
  readonly search: Search;
  readonly searcher: Searcher;
  /** -1 for what is no site. */
  siteOf(vertex: number): number;
  readonly measured: ReadonlyMap<number, Measured> | undefined;
  /** Called when it went deeper, with the number of newly settled vertices. */
  deepened(by: number): void;
}

export function createSiteOrder(parts: OrderParts): SiteOrder {
  const { search, searcher, siteOf, measured } = parts;
  let sites = new Int32Array(16);
  let latencies = new Float64Array(16);
  let known = 0;
  /** The part of the search that is ordered already; -1: nothing was looked at. */
  let ordered = -1;

  /** Orders what is settled. The first `known` never change: all that is added comes behind them. */
  const order = () => {
    const found: { site: number; latencyMs: number }[] = [];
    for (let at = 0; at < search.settled; at++) {
      const site = siteOf(search.vertices[at]!);
      if (site >= 0 && !measured?.get(site)?.current)
        found.push({ site, latencyMs: search.distancesMs[at]! });
    }
    for (const [site, { latencyMs, current }] of measured ?? []) if (current) found.push({ site, latencyMs });
    found.sort((a, b) => a.latencyMs - b.latencyMs || a.site - b.site);
    known = 0;
    sites = atLeast(sites, found.length);
    latencies = atLeast(latencies, found.length);
    for (const { site, latencyMs } of found) {
      if (latencyMs >= search.frontierMs) break;
      sites[known] = site;
      latencies[known] = latencyMs;
      known++;
    }
    ordered = search.settled;
  };

  return {
    site(place) {
      while (place >= known) {
        if (ordered === search.settled) {
          if (search.frontierMs === Number.POSITIVE_INFINITY) return -1;
          const before = search.settled;
          searcher.deepen(search, Math.max(FIRST, 2 * before));
          parts.deepened(search.settled - before);
        }
        order();
      }
      return sites[place]!;
    },
    latencyMs: (place) => latencies[place]!,
  };
}
