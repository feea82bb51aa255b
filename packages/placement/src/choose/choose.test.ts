import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded } from '../seeded.ts';
import { chooseInstance, SHAPES } from '../testing/city.ts';
import { assign } from './assign.ts';
import { lowerBound } from './bound.ts';
import { chooseSites } from './choose.ts';
import { chooseExactly } from './exact.ts';
import { type ChooseRequest, instanceOf } from './instance.ts';

const small: fc.Arbitrary<ChooseRequest> = fc
  .record({ sites: fc.integer({ min: 1, max: 7 }), clients: fc.integer({ min: 0, max: 9 }) })
  .chain(({ sites, clients }) =>
    fc.record({
      sites: fc.constant(sites),
      weights: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: clients, maxLength: clients }),
      latencyMs: fc.array(fc.constantFrom(0, 1, 2, 3, 5, 8, 13, Number.POSITIVE_INFINITY), {
        minLength: clients * sites,
        maxLength: clients * sites,
      }),
      capacities: fc.array(fc.integer({ min: 0, max: 12 }), { minLength: sites, maxLength: sites }),
      replicas: fc.integer({ min: 0, max: 4 }),
    }),
  );

function subsets(count: number, size: number): number[][] {
  if (size === 0) return [[]];
  if (count < size) return [];
  return [...subsets(count - 1, size), ...subsets(count - 1, size - 1).map((rest) => [...rest, count - 1])];
}

/** Least cost of one unit after the other over all ways: by trying, for a handful of clients of weight 1. */
function plainAssign(request: ChooseRequest, chosen: readonly number[], unservedMs: number): number {
  const room = new Map(chosen.map((site) => [site, request.capacities![site]!]));
  const units: number[] = [];
  Array.from(request.weights).forEach((weight, client) => {
    for (let unit = 0; unit < weight; unit++) units.push(client);
  });
  const go = (at: number): number => {
    if (at === units.length) return 0;
    let best = unservedMs + go(at + 1);
    for (const [site, left] of room) {
      const latencyMs = request.latencyMs[units[at]! * request.sites + site]!;
      if (left < 1 || !Number.isFinite(latencyMs)) continue;
      room.set(site, left - 1);
      best = Math.min(best, latencyMs + go(at + 1));
      room.set(site, left);
    }
    return best;
  };
  return go(0);
}

describe('choosing sites', () => {
  it('assigns at the least cost, as trying all ways finds it', () => {
    fc.assert(
      fc.property(small, (request) => {
        const instance = instanceOf({
          ...request,
          weights: Array.from(request.weights, (weight) => Math.min(1, weight)),
        });
        const chosen = subsets(request.sites, Math.min(2, request.sites))[0]!;
        const unit = { ...request, weights: Array.from(request.weights, (weight) => Math.min(1, weight)) };
        expect(assign(instance, chosen).cost).toBeCloseTo(plainAssign(unit, chosen, instance.unservedMs), 6);
      }),
      { numRuns: 150 },
    );
  });

  it('costs the same after any opening and closing as when assigned anew', () => {
    fc.assert(
      fc.property(small, fc.array(fc.nat({ max: 6 }), { maxLength: 20 }), (request, toggles) => {
        const instance = instanceOf(request);
        const assignment = assign(instance, []);
        const open = new Set<number>();
        for (const toggle of toggles) {
          const site = toggle % request.sites;
          if (open.delete(site)) assignment.closeSite(site);
          else {
            open.add(site);
            assignment.openSite(site);
          }
          expect(assignment.cost).toBeCloseTo(assign(instance, [...open]).cost, 6);
          const load = new Map<number, number>();
          assignment.shares((_, column, weight) => load.set(column, (load.get(column) ?? 0) + weight));
          for (const [column, weight] of load)
            expect(weight).toBeLessThanOrEqual(instance.capacities[column]! + 1e-6);
          expect([...load.values()].reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(
            Array.from(request.weights).reduce((sum, weight) => sum + weight, 0),
            6,
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  it('proves an optimum that trying all choices finds too, and its bound is never above', () => {
    fc.assert(
      fc.property(small, (request) => {
        const instance = instanceOf(request);
        const best = Math.min(
          ...subsets(request.sites, instance.replicas).map((chosen) => assign(instance, chosen).cost),
        );
        const exact = chooseExactly(instance, { start: subsets(request.sites, instance.replicas)[0]! });
        expect(exact.proved).toBe(true);
        expect(exact.cost).toBeCloseTo(best, 5);
        expect(lowerBound(instance, { upper: best, steps: 60 }).cost).toBeLessThanOrEqual(best + 1e-6);
      }),
      { numRuns: 100 },
    );
  });

  it('never breaks a capacity or a bound, serves all that the chosen sites can, and answers alike for the same seed', () => {
    fc.assert(
      fc.property(small, fc.integer(), (request, seed) => {
        const choice = chooseSites(request, { seed, work: 20_000 });
        expect(chooseSites(request, { seed, work: 20_000 })).toEqual(choice);
        expect(choice.sites).toHaveLength(Math.min(request.replicas, request.sites));
        const load = new Map<number, number>();
        let totalMs = 0;
        for (const { client, site, weight } of choice.served) {
          if (site < 0) continue;
          expect(choice.sites).toContain(site);
          const latencyMs = request.latencyMs[client * request.sites + site]!;
          expect(Number.isFinite(latencyMs)).toBe(true);
          totalMs += weight * latencyMs;
          load.set(site, (load.get(site) ?? 0) + weight);
        }
        for (const [site, weight] of load)
          expect(weight).toBeLessThanOrEqual(request.capacities![site]! + 1e-6);
        expect(totalMs).toBeCloseTo(choice.totalMs, 5);
      }),
      { numRuns: 150 },
    );
  });

  it('stays within 1 % of the optimum in the median and 3 % in the worst, on random, clustered and strung-out stations', () => {
    const gaps: number[] = [];
    for (let seed = 1; seed <= 24; seed++) {
      const random = seeded(seed);
      const request = chooseInstance(
        SHAPES[seed % 3]!,
        {
          sites: 15 + (seed % 10),
          clients: 80,
          replicas: 3 + (seed % 4),
          tightness: [0, 0.6, 0.85][seed % 3]!,
        },
        random,
      );
      const choice = chooseSites(request, { seed });
      const exact = chooseExactly(instanceOf(request), { start: choice.sites, maxNodes: 400 });
      expect(choice.unserved).toBeLessThan(1e-6);
      gaps.push(choice.totalMs / exact.bound - 1);
    }
    gaps.sort((a, b) => a - b);
    expect(gaps[12]).toBeLessThan(0.01);
    expect(gaps.at(-1)).toBeLessThan(0.03);
  });
});
