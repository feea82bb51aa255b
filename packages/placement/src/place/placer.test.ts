import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { build, request, vertexName, type WorldPlan, worldPlan } from '../testing/worlds.ts';
import { UNREACHED_MS } from './near-order.ts';
import { createPlacer } from './placer.ts';
import type { PlaceRequest } from './request.ts';

const steps = fc.array(fc.record({ request, keep: fc.boolean() }), { minLength: 1, maxLength: 25 });
const RUNS = { numRuns: 250 } as const;

/** Latency from an access point to each site by plain relaxation; a measured pair as it was measured. */
function plainLatencies(plan: WorldPlan, accessPoint: string): Map<string, number> {
  const distances = new Map([[accessPoint, 0]]);
  for (let round = 0; round < 12; round++) {
    for (const { a, b, latencyMs, up } of plan.links) {
      if (!up || a === b) continue;
      for (const [x, y] of [
        [vertexName(a), vertexName(b)],
        [vertexName(b), vertexName(a)],
      ] as const) {
        const through = (distances.get(x) ?? Number.POSITIVE_INFINITY) + latencyMs;
        if (through < (distances.get(y) ?? Number.POSITIVE_INFINITY)) distances.set(y, through);
      }
    }
  }
  for (const { ap, site, rttMs } of plan.measured)
    if (`ap${ap}` === accessPoint) distances.set(`s${site}`, rttMs / 2);
  return distances;
}

/** Mean and worst from the request's access points to a site, by definition. */
function plainNear(plan: WorldPlan, { near = [] }: PlaceRequest, site: string) {
  let sum = 0;
  let total = 0;
  let worst = 0;
  for (const { accessPoint, weight = 1 } of near) {
    if (weight === 0) continue;
    const latencyMs = plainLatencies(plan, accessPoint).get(site);
    sum += weight * (latencyMs ?? UNREACHED_MS);
    total += weight;
    worst = Math.max(worst, latencyMs ?? Number.POSITIVE_INFINITY);
  }
  return { mean: total === 0 ? 0 : sum / total, worst, bound: total > 0 };
}

describe('placing', () => {
  it('places on the best node that the explanation names, and refuses only when it names none', () => {
    fc.assert(
      fc.property(worldPlan, steps, (plan, todo) => {
        const world = build(plan);
        const placer = createPlacer(world);
        for (const { request: asked, keep } of todo) {
          const placement = placer.place(asked);
          const { placement: again, nodes } = placer.explain(asked);
          expect(again).toEqual(placement);
          expect(nodes.map(({ node }) => node).sort()).toEqual(plan.nodes.map((_, at) => `n${at}`).sort());
          const fitting = nodes.filter(({ fits }) => fits);
          if (placement.outcome === 'placed' && placement.ends.length === 0) {
            expect(fitting[0]).toMatchObject({ node: placement.node, chosen: true, score: placement.score });
          } else expect(fitting).toEqual([]);
          if (placement.outcome === 'refused')
            expect(placement.reasons.reduce((sum, { nodes: count }) => sum + count, 0)).toBe(nodes.length);
          for (const { fits, reasons } of nodes) expect(fits).toBe(reasons.length === 0);
          if (placement.outcome === 'placed' && keep) {
            for (const { key } of placement.ends) world.fleet.give(key);
            world.fleet.take(asked.key, placement.taking);
          }
        }
      }),
      RUNS,
    );
  });

  it('goes by the latency of definition, never beyond the bound, and never takes more than a node has', () => {
    fc.assert(
      fc.property(worldPlan, steps, (plan, todo) => {
        const world = build(plan);
        const placer = createPlacer(world);
        const { fleet } = world;
        for (const { request: asked } of todo) {
          const { placement, nodes } = placer.explain(asked);
          for (const { site, score, worstLatencyMs } of nodes) {
            const expected = plainNear(plan, asked, site);
            expect(score.latencyMs).toBeCloseTo(expected.mean, 5);
            expect(worstLatencyMs).toBe(expected.worst);
          }
          if (placement.outcome === 'refused') continue;
          if (asked.maxLatencyMs !== undefined && asked.near)
            expect(plainNear(plan, asked, placement.site).worst).toBeLessThanOrEqual(
              plainNear(plan, asked, placement.site).bound ? asked.maxLatencyMs : 0,
            );
          for (const { key, priority } of placement.ends) {
            expect(priority).toBeLessThan(asked.priority ?? 0);
            expect(fleet.get(key)?.node).toBe(fleet.find(placement.node));
            fleet.give(key);
          }
          fleet.take(asked.key, placement.taking);
          const node = fleet.find(placement.node);
          const { columns } = fleet;
          expect(columns.ready[node]! + columns.schedulable[node]!).toBe(2);
          for (const free of [
            columns.cpuFreeMilli,
            columns.memoryFreeBytes,
            columns.diskFreeBytes,
            columns.addressesFree,
          ])
            expect(free[node]!).toBeGreaterThanOrEqual(0);
        }
      }),
      RUNS,
    );
  });

  it('ends nothing that could have stayed: with any one of them left, it would not fit', () => {
    fc.assert(
      fc.property(worldPlan, steps, (plan, todo) => {
        const world = build(plan);
        const placer = createPlacer(world);
        for (const { request: asked } of todo) {
          const placement = placer.place({ ...asked, preempt: true });
          if (placement.outcome === 'refused') continue;
          const rows = placement.ends.map(({ key }) => world.fleet.get(key)!);
          for (const row of rows) world.fleet.give(row.key);
          for (const row of rows) {
            world.fleet.put(row);
            const verdict = placer
              .explain({ ...asked, preempt: false })
              .nodes.find(({ node }) => node === placement.node)!;
            expect(verdict.fits).toBe(false);
            world.fleet.give(row.key);
          }
          world.fleet.take(asked.key, placement.taking);
        }
      }),
      RUNS,
    );
  });

  it('leaves the fleet as it was, whatever was asked', () => {
    fc.assert(
      fc.property(worldPlan, steps, (plan, todo) => {
        const world = build(plan);
        const placer = createPlacer(world);
        const { fleet } = world;
        const state = () =>
          JSON.stringify(
            plan.nodes.map((_, node) =>
              [...fleet.of(node)].sort((a, b) => (a.key < b.key ? -1 : 1)).concat([]),
            ),
          ) + [fleet.columns.memoryFreeBytes, fleet.columns.cpuFreeMilli].join();
        for (const { request: asked } of todo) {
          const before = state();
          const placement = placer.place({ ...asked, preempt: true });
          placer.explain({ ...asked, preempt: true });
          expect(state()).toBe(before);
          if (placement.outcome === 'placed' && placement.ends.length === 0)
            fleet.take(asked.key, placement.taking);
        }
      }),
      { numRuns: 100 },
    );
  });
});
