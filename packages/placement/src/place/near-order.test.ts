import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SiteOrder } from '../topology/site-order.ts';
import { createNearOrder, UNREACHED_MS } from './near-order.ts';

const SITES = 120;

/** The order of one access point from a table of latencies; counts how far it was read. */
function orderOf(latencies: readonly (number | undefined)[]): SiteOrder & { deepest: number } {
  const sorted = latencies
    .map((latencyMs, site) => ({ latencyMs, site }))
    .filter((one): one is { latencyMs: number; site: number } => one.latencyMs !== undefined)
    .sort((a, b) => a.latencyMs - b.latencyMs || a.site - b.site);
  const order = {
    deepest: 0,
    site: (place: number) => {
      order.deepest = Math.max(order.deepest, place);
      return sorted[place]?.site ?? -1;
    },
    latencyMs: (place: number) => sorted[place]!.latencyMs,
  };
  return order;
}

const latencies = fc.array(
  fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 400 }).map((n) => n / 10) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  ),
  { minLength: SITES, maxLength: SITES },
);
const weighted = fc.array(fc.record({ latencies, weight: fc.constantFrom(0.5, 1, 3, 20) }), {
  minLength: 1,
  maxLength: 5,
});

describe('the order of sites from several access points', () => {
  it('is that of the weighted means, from the first site to the last, however it is read', () => {
    fc.assert(
      fc.property(weighted, fc.nat({ max: SITES - 1 }), (sources, start) => {
        const near = createNearOrder(
          sources.map((source) => ({ order: orderOf(source.latencies), weight: source.weight })),
        );
        near.site(start);
        const total = sources.reduce((sum, { weight }) => sum + weight, 0);
        const means = Array.from({ length: SITES }, (_, site) => {
          const all = sources.map((source) => source.latencies[site]);
          if (all.every((one) => one === undefined)) return undefined;
          return sources.reduce((sum, { weight }, at) => sum + weight * (all[at] ?? UNREACHED_MS), 0) / total;
        });
        const seen = new Set<number>();
        let before = 0;
        for (let place = 0; near.site(place) >= 0; place++) {
          const site = near.site(place);
          seen.add(site);
          expect(near.meanMs(place)).toBeCloseTo(means[site]!, 5);
          expect(near.meanMs(place)).toBeGreaterThanOrEqual(before);
          before = near.meanMs(place);
          const all = sources.map((source) => source.latencies[site] ?? Number.POSITIVE_INFINITY);
          expect(near.worstMs(place)).toBe(Math.max(...all));
        }
        expect([...seen].sort((a, b) => a - b)).toEqual(
          means.flatMap((mean, site) => (mean === undefined ? [] : [site])),
        );
      }),
      { numRuns: 150 },
    );
  });

  it('reads a part only when a near site is all that is asked for', () => {
    const along = (from: number) =>
      Array.from({ length: SITES }, (_, site) => Math.abs(site - from) + 0.001 * site);
    const orders = [orderOf(along(50)), orderOf(along(54))];
    const near = createNearOrder(orders.map((order) => ({ order, weight: 1 })));
    expect([50, 51, 52, 53, 54]).toContain(near.site(0));
    for (const { deepest } of orders) expect(deepest).toBeLessThan(SITES / 2);
  });
});
