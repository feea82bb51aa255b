import fc from 'fast-check';
import { expect, test } from 'vitest';
import { routeLines } from './lines.ts';
import { bothFamilies } from './lines6.ts';
import type { LabPlan } from './plan.ts';
import { type Attachments, type Route, routesOf, shortestWays } from './routes.ts';

interface Sketch {
  readonly routers: number;
  readonly wires: readonly { a: number; b: number; latencyMs: number; cut: boolean }[];
  readonly machines: readonly { at: number; on: boolean }[];
  readonly clients: readonly number[];
}

const sketches = fc.integer({ min: 1, max: 9 }).chain((routers) => {
  const router = fc.integer({ min: 0, max: routers - 1 });
  return fc.record({
    routers: fc.constant(routers),
    wires: fc.array(
      fc
        .record({
          a: router,
          b: router,
          latencyMs: fc.constantFrom(0, 0.1, 0.2, 0.3, 1, 5, 25),
          cut: fc.boolean(),
        })
        .filter(({ a, b }) => routers === 1 || a !== b),
      { maxLength: routers === 1 ? 0 : 16 },
    ),
    machines: fc.array(fc.record({ at: router, on: fc.boolean() }), { maxLength: 4 }),
    clients: fc.array(router, { maxLength: 3 }),
  });
});

function build(sketch: Sketch): { plan: LabPlan; now: Attachments } {
  const routers = Array.from({ length: sketch.routers }, (_, i) => ({
    ...{ name: `r${i}`, type: 'site', netns: '', address: `10.0.0.${i}` },
  }));
  const machines = sketch.machines.map(({ at }, i) => ({
    ...{ name: `m${i}`, role: 'agent' as const, site: `r${at}`, netns: '', words: [] },
    ...{ address: `10.0.1.${i}`, device: `to-m${i}` },
  }));
  const clients = sketch.clients.map((_, i) => ({
    ...{ name: `c${i}`, netns: '', address: `10.0.2.${i}`, device: `to-c${i}` },
  }));
  const wires = sketch.wires.map(({ a, b, latencyMs }, i) => ({
    ...{ name: `w${i}`, between: [`r${a}`, `r${b}`] as const, device: `wire${i}` },
    ...{ latencyMs, bandwidthBps: 0, loss: 0 },
  }));
  return {
    plan: { subnet: '10.0.0.0/20', nearestNode: '10.0.9.9', routers, machines, clients, wires },
    now: {
      cut: new Set(sketch.wires.flatMap(({ cut }, i) => (cut ? [`w${i}`] : []))),
      clients: new Map(sketch.clients.map((at, i) => [`c${i}`, `r${at}`])),
      machines: new Set(sketch.machines.flatMap(({ on }, i) => (on ? [`m${i}`] : []))),
    },
  };
}

/** Every pair by Floyd and Warshall: another way to the same numbers. */
function distances({ plan, now }: ReturnType<typeof build>): Map<string, number> {
  const names = plan.routers.map(({ name }) => name);
  const far = new Map<string, number>();
  const at = (a: string, b: string) => far.get(`${a} ${b}`) ?? Number.POSITIVE_INFINITY;
  for (const name of names) far.set(`${name} ${name}`, 0);
  for (const { name, between, latencyMs } of plan.wires) {
    if (now.cut.has(name)) continue;
    for (const [a, b] of [between, [between[1], between[0]]] as const)
      far.set(`${a} ${b}`, Math.min(at(a, b), latencyMs));
  }
  for (const k of names)
    for (const i of names)
      for (const j of names) far.set(`${i} ${j}`, Math.min(at(i, j), at(i, k) + at(k, j)));
  return far;
}

/** Where a packet ends up, hop by hop, with the latency of its way. */
function follow({ plan }: ReturnType<typeof build>, routes: Map<string, Route[]>, from: string, to: string) {
  let at = from;
  let latencyMs = 0;
  for (let hops = 0; hops <= plan.routers.length; hops++) {
    if (plan.routers.find(({ name }) => name === at)!.address === to) return { device: 'own', at, latencyMs };
    const route = routes.get(at)!.find((one) => one.to === to);
    if (!route) return undefined;
    const wire = plan.wires.find(({ device, between }) => device === route.device && between.includes(at));
    if (!wire) return { device: route.device, at, latencyMs };
    latencyMs += wire.latencyMs;
    const next = wire.between.find((end) => end !== at)!;
    expect(route.via).toBe(plan.routers.find(({ name }) => name === next)!.address);
    at = next;
  }
  throw new Error(`a loop from ${from} to ${to}`);
}

test('whatever the network and its cuts: every packet takes a shortest way, none goes in circles, and there is no route to what is cut off', () => {
  fc.assert(
    fc.property(sketches, (sketch) => {
      const lab = build(sketch);
      const routes = routesOf(lab.plan, lab.now);
      const far = distances(lab);
      const targets = [
        ...lab.plan.routers.map(({ name, address }) => ({ at: name, address, device: 'own' })),
        ...lab.plan.clients.map(({ name, address, device }) => ({
          at: lab.now.clients.get(name)!,
          address,
          device,
        })),
        ...lab.plan.machines
          .filter(({ name }) => lab.now.machines.has(name))
          .map(({ site, address, device }) => ({ at: site, address, device })),
      ];
      for (const { name } of lab.plan.routers) {
        for (const { at, address, device } of targets) {
          const shortest = far.get(`${name} ${at}`) ?? Number.POSITIVE_INFINITY;
          const end = follow(lab, routes, name, address);
          if (shortest === Number.POSITIVE_INFINITY) expect(end).toBeUndefined();
          else {
            expect(end).toMatchObject({ at, device });
            expect(end!.latencyMs).toBeCloseTo(shortest, 6);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('what belongs to nobody goes to the nearest node that is on', () => {
  fc.assert(
    fc.property(sketches, (sketch) => {
      const lab = build(sketch);
      const routes = routesOf(lab.plan, lab.now);
      const far = distances(lab);
      for (const { name } of lab.plan.routers) {
        const on = lab.plan.machines.filter((machine) => lab.now.machines.has(machine.name));
        const nearest = Math.min(
          ...on.map(({ site }) => far.get(`${name} ${site}`) ?? Number.POSITIVE_INFINITY),
        );
        const end = follow(lab, routes, name, 'default');
        if (nearest === Number.POSITIVE_INFINITY) expect(end).toBeUndefined();
        else {
          expect(end?.latencyMs).toBeCloseTo(nearest, 6);
          expect(on.map(({ device }) => device)).toContain(end?.device);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('a change of routes touches what changed and nothing else', () => {
  const have = [
    { to: '10.0.0.1', device: 'a' },
    { to: '10.0.0.2', via: '10.0.0.9', device: 'b' },
  ];
  expect(routeLines(have, have)).toEqual([]);
  expect(routeLines(have, [{ to: '10.0.0.1', device: 'c' }])).toEqual([
    'route replace 10.0.0.1/32 dev c proto 177',
    'route del 10.0.0.2/32 via 10.0.0.9 dev b onlink proto 177',
  ]);
});

test('IPv6 goes the same ways', () => {
  const routes = bothFamilies([
    { to: '10.0.0.1', device: 'a' },
    { to: 'default', via: '10.0.0.9', device: 'b' },
  ]);
  expect(routeLines([], routes)).toEqual([
    'route replace 10.0.0.1/32 dev a proto 177',
    'route replace fdd2:6dd7:ba15:2::a00:1/128 dev a proto 177',
    'route replace default via 10.0.0.9 dev b onlink proto 177',
    'route replace ::/0 via fe80::a00:9 dev b proto 177',
  ]);
  expect(routeLines(routes, routes)).toEqual([]);
});

test('equal latencies are decided by hops: 0.1 + 0.2 is no longer than 0.3', () => {
  const lab = build({
    ...{ routers: 3, machines: [], clients: [] },
    wires: [
      { a: 0, b: 1, latencyMs: 0.1, cut: false },
      { a: 1, b: 2, latencyMs: 0.2, cut: false },
      { a: 0, b: 2, latencyMs: 0.3, cut: false },
    ],
  });
  expect(shortestWays(lab.plan, new Set(), 'r0').get('r2')).toMatchObject({ hops: 1 });
});
