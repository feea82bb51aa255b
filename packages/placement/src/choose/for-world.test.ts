import { describe, expect, it } from 'vitest';
import { createPlacer } from '../place/placer.ts';
import type { PlaceRequest } from '../place/request.ts';
import { seeded } from '../seeded.ts';
import { edgeWorld, SHAPES } from '../testing/city.ts';
import { chooseReplicaSites, replicasPerSite } from './for-world.ts';

const near = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ accessPoint: `ap-${at}`, weight: 1 + (at % 3) }));
const template: PlaceRequest = {
  key: 'default/web-0',
  workload: 'default/web',
  runtime: 'container',
  cpus: 0.1,
  memoryBytes: 2 ** 26,
  diskBytes: 0,
};

describe('sites of a workload', () => {
  it.each(SHAPES)(
    'serves every access point from a chosen site at its true latency, within the bound: %s',
    (shape) => {
      const world = edgeWorld(shape, { sites: 30, nodesPerSite: 2, accessPoints: 60 }, seeded(5));
      const choice = chooseReplicaSites(world, {
        near: near(60),
        replicas: 4,
        capacity: 45,
        maxLatencyMs: 12,
      });
      expect(choice.sites).toHaveLength(4);
      const shares = choice.sites.flatMap(({ site, serves }) => {
        expect(serves.reduce((sum, { weight }) => sum + weight, 0)).toBeLessThanOrEqual(45 + 1e-6);
        return serves.map((share) => ({ ...share, site }));
      });
      for (const { accessPoint, site, latencyMs } of shares) {
        expect(latencyMs).toBeLessThanOrEqual(12);
        expect(world.topology.distance(accessPoint, site).latencyMs).toBe(latencyMs);
      }
      const weights = [...shares, ...choice.unserved].reduce((sum, { weight }) => sum + weight, 0);
      expect(weights).toBeCloseTo(120, 6);
    },
  );

  it('wants a replica at each site that is nearest to clients, and stays there when the site is full of it', () => {
    const world = edgeWorld('city', { sites: 10, nodesPerSite: 1, accessPoints: 12 }, seeded(3));
    const placer = createPlacer(world);
    const wanted = replicasPerSite(world, placer, { ...template, near: near(12) }, 1);
    expect(wanted.flatMap(({ serves }) => serves).sort()).toEqual(
      near(12)
        .map(({ accessPoint }) => accessPoint)
        .sort(),
    );
    for (const { site, serves } of wanted)
      for (const accessPoint of serves)
        expect(world.topology.order(accessPoint).site(0)).toBe(world.fleet.sites.find(site));
    const [first] = wanted;
    const node = world.fleet.node(world.fleet.at(world.fleet.sites.find(first!.site))!.nodes[0]!).name;
    world.fleet.take('default/web-0', {
      node,
      cpus: 0,
      memoryBytes: 2 ** 32,
      diskBytes: 0,
      groups: ['default/web'],
    });
    expect(replicasPerSite(world, placer, { ...template, key: 'default/web-9', near: near(12) }, 2)).toEqual(
      wanted.map((one) => ({ ...one, replicas: 2 })),
    );
    world.fleet.take('default/other-0', { node, cpus: 0, memoryBytes: 2 ** 32, diskBytes: 0 });
    world.fleet.give('default/web-0');
    expect(
      replicasPerSite(world, placer, { ...template, near: near(12) }, 1).map(({ site }) => site),
    ).not.toContain(first!.site);
  });
});
