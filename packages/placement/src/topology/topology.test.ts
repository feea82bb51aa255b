import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTopology, type Topology } from './topology.ts';

const RUNS = { numRuns: 150 } as const;

/** Distances from `from` over links that are up, by Bellman and Ford: slow, and simple enough to be believed. */
function plainDistances(from: string, links: Iterable<{ a: string; b: string; ms: number }>) {
  const all = [...links];
  const distances = new Map([[from, 0]]);
  for (let changed = true; changed; ) {
    changed = false;
    for (const { a, b, ms } of all) {
      for (const [x, y] of [
        [a, b],
        [b, a],
      ] as const) {
        const through = (distances.get(x) ?? Number.POSITIVE_INFINITY) + ms;
        if (through < (distances.get(y) ?? Number.POSITIVE_INFINITY)) {
          distances.set(y, through);
          changed = true;
        }
      }
    }
  }
  return distances;
}

function ordered(topology: Topology, accessPoint: string) {
  const order = topology.order(accessPoint);
  const all: { site: string; latencyMs: number }[] = [];
  for (let place = 0; ; place++) {
    const site = order.site(place);
    if (site < 0) return all;
    all.push({ site: topology.sites.name(site), latencyMs: order.latencyMs(place) });
  }
}

const nameOf = (n: number) => (n % 3 === 0 ? `site-${n}` : n % 3 === 1 ? `ap-${n}` : `router-${n}`);
const vertex = fc.nat({ max: 59 });
const step = fc.oneof(
  fc.record({
    do: fc.constant('link' as const),
    name: fc.nat({ max: 60 }),
    a: vertex,
    b: vertex,
    ms: fc.integer({ min: 0, max: 20 }),
    up: fc.boolean(),
  }),
  fc.record({ do: fc.constant('unlink' as const), name: fc.nat({ max: 60 }) }),
  fc.record({ do: fc.constant('look' as const), from: fc.nat({ max: 19 }), depth: fc.nat({ max: 20 }) }),
);

describe('the access network', () => {
  it('gives the true order of sites after any sequence of changes, islands and cycles among them', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const topology = createTopology({ keepVertices: 400 });
        for (let n = 0; n < 60; n++)
          topology.add((['site', 'access-point', 'router'] as const)[n % 3]!, nameOf(n));
        const links = new Map<string, { a: string; b: string; ms: number; up: boolean }>();
        for (const one of steps) {
          if (one.do === 'look') {
            const order = topology.order(nameOf(3 * one.from + 1));
            order.site(one.depth);
          } else if (one.do === 'unlink') {
            topology.unlink(`l${one.name}`);
            links.delete(`l${one.name}`);
          } else if (one.a !== one.b) {
            const [a, b] = [nameOf(one.a), nameOf(one.b)];
            topology.link(`l${one.name}`, { between: [a, b], latencyMs: one.ms, up: one.up });
            links.set(`l${one.name}`, { a, b, ms: one.ms, up: one.up });
          }
        }
        for (let n = 1; n < 60; n += 3) {
          const expected = plainDistances(
            nameOf(n),
            [...links.values()].filter(({ up }) => up),
          );
          const found = ordered(topology, nameOf(n));
          expect(found.map(({ latencyMs }) => latencyMs)).toEqual(
            found.map(({ latencyMs }) => latencyMs).sort((x, y) => x - y),
          );
          expect(new Map(found.map(({ site, latencyMs }) => [site, latencyMs]))).toEqual(
            new Map([...expected].filter(([name]) => name.startsWith('site'))),
          );
          for (const { site, latencyMs } of found.slice(0, 3)) {
            expect(topology.distance(nameOf(n), site).latencyMs).toBe(latencyMs);
            const path = topology.path(nameOf(n), site);
            expect(path.reduce((sum, hop) => sum + hop.latencyMs, 0)).toBe(latencyMs);
            if (path.length > 0) expect([path[0]!.from, path.at(-1)!.to]).toEqual([nameOf(n), site]);
          }
        }
        expect(topology.kept).toBeLessThanOrEqual(400 + 60);
      }),
      RUNS,
    );
  });

  it('believes a measured round trip until the path changes or it is too old', () => {
    const topology = createTopology();
    topology.add('access-point', 'tower');
    for (const site of ['near', 'far']) topology.add('site', site);
    topology.add('router', 'middle');
    topology.link('a', { between: ['tower', 'near'], latencyMs: 3 });
    topology.link('b', { between: ['tower', 'middle'], latencyMs: 2 });
    topology.link('c', { between: ['middle', 'far'], latencyMs: 4 });
    topology.measured('tower', 'far', 2, 1000);
    expect(ordered(topology, 'tower')).toEqual([
      { site: 'far', latencyMs: 1 },
      { site: 'near', latencyMs: 3 },
    ]);
    topology.link('a', { between: ['tower', 'near'], latencyMs: 5 });
    expect(topology.distance('tower', 'far')).toEqual({
      latencyMs: 1,
      modelledMs: 6,
      measuredMs: 1,
      measuredAtMs: 1000,
      believed: true,
    });
    topology.link('c', { between: ['middle', 'far'], latencyMs: 4, up: false });
    expect(topology.distance('tower', 'far').latencyMs).toBe(Number.POSITIVE_INFINITY);
    expect(ordered(topology, 'tower').map(({ site }) => site)).toEqual(['near']);
    topology.link('c', { between: ['middle', 'far'], latencyMs: 4, up: true });
    expect(topology.distance('tower', 'far')).toMatchObject({ latencyMs: 6, believed: false });
    topology.measured('tower', 'far', 4, 2000);
    expect(topology.distance('tower', 'far').latencyMs).toBe(2);
    expect(topology.forget(2001)).toBe(1);
    expect(topology.distance('tower', 'far')).toEqual({ latencyMs: 6, modelledMs: 6 });
  });

  it('orders measured and modelled sites together, however far the search went', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 50, maxLength: 120 }),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 600 })), { maxLength: 12 }),
        fc.nat({ max: 40 }),
        (latencies, measured, depth) => {
          const topology = createTopology();
          topology.add('access-point', 'tower');
          const expected = new Map<string, number>();
          let far = 0;
          latencies.forEach((latencyMs, at) => {
            topology.add('site', `s${at}`);
            topology.link(`l${at}`, { between: [at === 0 ? 'tower' : `s${at - 1}`, `s${at}`], latencyMs });
            far += latencyMs;
            expected.set(`s${at}`, far);
          });
          topology.order('tower').site(depth);
          for (const [at, roundTripMs] of measured) {
            const site = `s${at % latencies.length}`;
            topology.measured('tower', site, roundTripMs, 0);
            expected.set(site, roundTripMs / 2);
          }
          const found = ordered(topology, 'tower');
          expect(new Map(found.map(({ site, latencyMs }) => [site, latencyMs]))).toEqual(expected);
          expect(found.every(({ latencyMs }, at) => at === 0 || found[at - 1]!.latencyMs <= latencyMs)).toBe(
            true,
          );
        },
      ),
      RUNS,
    );
  });

  it('takes a site out with its links and its measurements', () => {
    const topology = createTopology();
    topology.add('access-point', 'tower');
    topology.add('site', 'harbour');
    topology.link('l', { between: ['tower', 'harbour'], latencyMs: 1 });
    topology.measured('tower', 'harbour', 3, 0);
    topology.remove('harbour');
    expect(ordered(topology, 'tower')).toEqual([]);
    expect(topology.links).toBe(0);
    expect(() => topology.distance('tower', 'harbour')).toThrow('harbour');
    topology.add('site', 'harbour');
    expect(topology.distance('tower', 'harbour').latencyMs).toBe(Number.POSITIVE_INFINITY);
  });

  it('refuses a link that leads nowhere, to itself, or with a latency that is no number', () => {
    const topology = createTopology();
    topology.add('site', 'a');
    topology.add('site', 'b');
    expect(() => topology.link('l', { between: ['a', 'c'], latencyMs: 1 })).toThrow('"c"');
    expect(() => topology.link('l', { between: ['a', 'a'], latencyMs: 1 })).toThrow('both ends');
    expect(() => topology.link('l', { between: ['a', 'b'], latencyMs: Number.NaN })).toThrow('NaN');
    expect(() => topology.add('router', 'a')).toThrow('site');
  });
});
