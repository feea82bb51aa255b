import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seeded } from '../seeded.ts';
import { edgeWorld, SHAPES } from '../testing/city.ts';
import { sitesByDemand } from './demand.ts';

test('each access point is served by the nearest site that takes it, no other site is wanted, and each is asked once', () => {
  for (const shape of SHAPES) {
    const world = edgeWorld(shape, { sites: 20, nodesPerSite: 1, accessPoints: 40 }, seeded(3));
    const order = world.topology.order('ap-0');
    const all: string[] = [];
    for (let place = 0; order.site(place) >= 0; place++) all.push(world.fleet.sites.name(order.site(place))!);
    const far = (accessPoint: string, site: string) => world.topology.distance(accessPoint, site).latencyMs;
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 39 }), { maxLength: 12 }),
        fc.subarray(all),
        fc.constantFrom(Number.POSITIVE_INFINITY, 10, 2),
        (numbers, taking, maxLatencyMs) => {
          const accessPoints = numbers.map((number) => `ap-${number}`);
          const asked: string[] = [];
          const takes = (site: string) => asked.push(site) > 0 && taking.includes(site);
          const { sites, unserved } = sitesByDemand(world, { accessPoints, maxLatencyMs, takes });
          expect(new Set(asked).size).toBe(asked.length);
          const wanted = new Set<string>();
          for (const accessPoint of accessPoints) {
            const within = taking.filter((site) => far(accessPoint, site) <= maxLatencyMs);
            const leastMs = Math.min(...within.map((site) => far(accessPoint, site)));
            expect(unserved.includes(accessPoint)).toBe(within.length === 0);
            const chosen = sites.filter((site) => far(accessPoint, site) === leastMs);
            if (within.length > 0) expect(chosen.length).toBeGreaterThan(0);
            for (const site of chosen) wanted.add(site);
          }
          expect([...wanted].sort()).toEqual(sites);
        },
      ),
      { numRuns: 60 },
    );
  }
});

test('an access point that the network does not know is served by nobody', () => {
  const world = edgeWorld(SHAPES[0]!, { sites: 2, nodesPerSite: 1, accessPoints: 2 }, seeded(1));
  const told = sitesByDemand(world, { accessPoints: ['nowhere'], takes: () => true });
  expect(told).toEqual({ sites: [], unserved: ['nowhere'] });
});
