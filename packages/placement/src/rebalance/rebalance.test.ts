import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFleet } from '../fleet/fleet.ts';
import { createNames } from '../names.ts';
import { createPlacer } from '../place/placer.ts';
import type { PlaceRequest } from '../place/request.ts';
import { build, request, worldPlan } from '../testing/worlds.ts';
import { createTopology } from '../topology/topology.ts';
import { createRebalancer, REBALANCE_DEFAULTS } from './rebalance.ts';

const HOUR_MS = 3_600_000;

/** Two sites, 8 ms apart, with a tower at each and room for `room` instances at each. */
function twoSites(room = 10) {
  const sites = createNames();
  const topology = createTopology({ sites });
  const fleet = createFleet({ sites });
  for (const side of ['east', 'west']) {
    topology.add('site', side);
    topology.add('access-point', `tower-${side}`);
    topology.link(`radio-${side}`, { between: [side, `tower-${side}`], latencyMs: 1 });
    fleet.set({
      name: `node-${side}`,
      site: side,
      runtimes: { container: { overheadBytes: 0, accelerated: true } },
      cpus: 100,
      memoryBytes: room * 1000,
      diskBytes: 0,
      ready: true,
      schedulable: true,
    });
  }
  topology.link('between', { between: ['east', 'west'], latencyMs: 8 });
  const placer = createPlacer({ topology, fleet });
  const asked = (n: number, near: string, weight = 1): PlaceRequest => ({
    key: `web-${n}`,
    workload: 'default/web',
    runtime: 'container',
    cpus: 1,
    memoryBytes: 1000,
    diskBytes: 0,
    near: [{ accessPoint: `tower-${near}`, weight }],
  });
  const place = (wanted: PlaceRequest) => {
    const placement = placer.place(wanted);
    if (placement.outcome === 'placed') fleet.take(wanted.key, placement.taking);
    return placement;
  };
  return { topology, fleet, placer, asked, place };
}

describe('rebalancing', () => {
  it('proposes a move after the clients have moved, once it has paid for long enough, with gain and cost', () => {
    const { topology, fleet, placer, asked, place } = twoSites();
    place(asked(1, 'east'));
    const rebalancer = createRebalancer({ topology, fleet }, placer);
    const movable = [{ request: asked(1, 'west', 5), interruptionMs: 2000 }];
    expect(rebalancer.plan(movable, 0)).toMatchObject({
      moves: [],
      held: [{ key: 'web-1', code: 'too_new' }],
    });
    const { moves } = rebalancer.plan(movable, REBALANCE_DEFAULTS.holdMs);
    expect(moves).toMatchObject([
      {
        from: 'node-east',
        to: 'node-west',
        fromLatencyMs: 9,
        toLatencyMs: 1,
        gain: 5 * 8 * 600,
        cost: 10_000,
      },
    ]);
    expect(fleet.get('web-1')?.node).toBe(fleet.find('node-east'));
    fleet.take('web-1', moves[0]!.taking);
    expect(rebalancer.plan(movable, 2 * REBALANCE_DEFAULTS.holdMs)).toEqual({ moves: [], held: [] });
  });

  it('does not follow clients that go to and fro, nor moves what gains too little or costs too much', () => {
    const { topology, fleet, placer, asked, place } = twoSites();
    place(asked(1, 'east'));
    const rebalancer = createRebalancer({ topology, fleet }, placer);
    for (let turn = 0; turn < 50; turn++) {
      const side = turn % 2 === 0 ? 'west' : 'east';
      const plan = rebalancer.plan([{ request: asked(1, side), interruptionMs: 100 }], turn * 20_000);
      expect(plan.moves).toEqual([]);
    }
    const dear = [{ request: asked(1, 'west'), interruptionMs: 60_000 }];
    for (const nowMs of [2e6, 3e6])
      expect(rebalancer.plan(dear, nowMs)).toMatchObject({ moves: [], held: [{ code: 'not_worth_it' }] });
    topology.link('between', { between: ['east', 'west'], latencyMs: 0.5 });
    const cheap = [{ request: asked(1, 'west'), interruptionMs: 0 }];
    for (const nowMs of [4e6, 5e6])
      expect(rebalancer.plan(cheap, nowMs)).toMatchObject({ moves: [], held: [{ code: 'not_worth_it' }] });
  });

  it('moves first, and at once, what a hard bound no longer lets stay', () => {
    const { topology, fleet, placer, asked, place } = twoSites();
    const bounded = { ...asked(1, 'east'), maxLatencyMs: 3 };
    place(bounded);
    place(asked(2, 'east'));
    const rebalancer = createRebalancer({ topology, fleet }, placer);
    topology.link('shortcut', { between: ['west', 'tower-east'], latencyMs: 2 });
    topology.link('radio-east', { between: ['east', 'tower-east'], latencyMs: 4 });
    const plan = rebalancer.plan(
      [
        { request: asked(2, 'east', 100), interruptionMs: 0 },
        { request: bounded, interruptionMs: 1e9 },
      ],
      0,
    );
    expect(plan.moves.map(({ key, to }) => `${key} ${to}`)).toEqual(['web-1 node-west']);
    expect(plan.moves[0]!.because).toContain('4ms');
  });

  it('never plans more for an hour than it may, with what was made counted, and never more than fits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 9 }),
        (maxPerHour, room, count) => {
          const { topology, fleet, placer, asked, place } = twoSites(room);
          const all = Array.from({ length: Math.min(count, room) }, (_, n) => asked(n, 'east'));
          for (const one of all) place(one);
          const rebalancer = createRebalancer({ topology, fleet }, placer, { maxPerHour, holdMs: 0 });
          const movables = all.map(({ key }, n) => ({
            request: { ...asked(n, 'west'), key },
            interruptionMs: 0,
          }));
          const first = rebalancer.plan(movables, 0);
          expect(first.moves).toHaveLength(Math.min(maxPerHour, all.length));
          for (const { key, taking } of first.moves) {
            fleet.take(key, taking);
            rebalancer.moved(key, 0);
          }
          for (let node = 0; node < fleet.nodes; node++)
            expect(fleet.columns.memoryFreeBytes[node]).toBeGreaterThanOrEqual(0);
          expect(rebalancer.plan(movables, HOUR_MS - 1).moves).toHaveLength(
            Math.min(all.length - first.moves.length, maxPerHour - first.moves.length),
          );
          expect(rebalancer.plan(movables, HOUR_MS).moves).toHaveLength(
            Math.min(all.length - first.moves.length, maxPerHour),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('comes to rest in a world that rests: each move saves latency or heeds a bound, and none is undone', () => {
    fc.assert(
      fc.property(worldPlan, fc.array(request, { maxLength: 12 }), worldPlan, (plan, requests, changed) => {
        const world = build(plan);
        const placer = createPlacer(world);
        const kept = new Map<string, PlaceRequest>();
        for (const one of requests) {
          const placement = placer.place({ ...one, preempt: false });
          if (placement.outcome === 'refused') continue;
          world.fleet.take(one.key, placement.taking);
          kept.set(one.key, one);
        }
        changed.links.forEach(({ latencyMs, up }, at) => {
          const was = plan.links[at];
          if (!was || was.a === was.b) return;
          const name = (n: number) => (n < 6 ? `s${n}` : n < 11 ? `ap${n - 6}` : 'middle');
          world.topology.link(`l${at}`, { between: [name(was.a), name(was.b)], latencyMs, up });
        });
        const rebalancer = createRebalancer(world, placer, { holdMs: 0, maxPerHour: 1000 });
        const movables = [...kept.values()].map((one) => ({ request: one, interruptionMs: 0 }));
        let rounds = 0;
        for (; rounds < 40; rounds++) {
          const { moves } = rebalancer.plan(movables, rounds);
          if (moves.length === 0) break;
          for (const { key, taking, because, fromLatencyMs, toLatencyMs } of moves) {
            if (because === undefined) expect(toLatencyMs).toBeLessThan(fromLatencyMs);
            world.fleet.take(key, taking);
          }
        }
        expect(rounds).toBeLessThan(40);
      }),
      { numRuns: 100 },
    );
  });
});
