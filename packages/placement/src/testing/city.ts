/** Stations, users and whole edges as points on a plane: at random, clustered like a city, strung along a road. Latency grows with distance. */
import type { ChooseRequest } from '../choose/instance.ts';
import { createFleet } from '../fleet/fleet.ts';
import { createNames } from '../names.ts';
import type { World } from '../place/context.ts';
import { createTopology } from '../topology/topology.ts';

export type Shape = 'random' | 'city' | 'road';
export const SHAPES: readonly Shape[] = ['random', 'city', 'road'];

interface Point {
  readonly x: number;
  readonly y: number;
}

export function points(shape: Shape, count: number, random: () => number): Point[] {
  const bell = () => (random() + random() + random() + random() - 2) / 2;
  if (shape === 'random') return Array.from({ length: count }, () => ({ x: random(), y: random() }));
  if (shape === 'road')
    return Array.from({ length: count }, () => {
      const x = random();
      return { x, y: 0.5 + 0.2 * Math.sin(7 * x) + 0.02 * bell() };
    });
  // A centre, and districts around it that grow smaller.
  const districts = Array.from({ length: 8 }, (_, at) => ({
    x: at === 0 ? 0.5 : random(),
    y: at === 0 ? 0.5 : random(),
    wide: at === 0 ? 0.18 : 0.03 + 0.08 * random(),
  }));
  return Array.from({ length: count }, () => {
    const { x, y, wide } = districts[Math.floor(random() ** 2 * districts.length)]!;
    return { x: x + wide * bell(), y: y + wide * bell() };
  });
}

/** `tightness`: demand as a share of what `replicas` average sites can serve; 0: no bound. */
export function chooseInstance(
  shape: Shape,
  size: {
    readonly sites: number;
    readonly clients: number;
    readonly replicas: number;
    readonly tightness: number;
  },
  random: () => number,
): ChooseRequest {
  const stations = points(shape, size.sites, random);
  const users = points(shape, size.clients, random);
  // Clustered shapes share their districts: users are where stations are.
  const around = users.map((user, at) => {
    const near = stations[at % stations.length]!;
    return shape === 'city'
      ? { x: near.x + 0.1 * (random() - 0.5), y: near.y + 0.1 * (random() - 0.5) }
      : user;
  });
  const weights = around.map(() => 1 + Math.floor(3 * random()));
  const demand = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = size.tightness > 0 ? demand / size.replicas / size.tightness : 0;
  const latencyMs = new Float64Array(size.clients * size.sites);
  around.forEach((user, client) => {
    stations.forEach((station, site) => {
      latencyMs[client * size.sites + site] = 0.5 + 20 * Math.hypot(user.x - station.x, user.y - station.y);
    });
  });
  return {
    sites: size.sites,
    weights,
    latencyMs,
    replicas: size.replicas,
    ...(mean > 0 && { capacities: stations.map(() => Math.ceil(mean * (0.7 + 0.6 * random()))) }),
  };
}

export interface EdgeSize {
  readonly sites: number;
  readonly nodesPerSite: number;
  readonly accessPoints: number;
}

/** Milliseconds one way over the width of the whole area; a hop costs `HOP_MS` more. */
const ACROSS_MS = 20;
const HOP_MS = 0.2;

/** Sites linked to their nearest neighbours, access points to the two sites nearest to them; `besides` is one at the same site. Nodes are `node-SITE-NUMBER`. */
export function edgeWorld(
  shape: Shape,
  size: EdgeSize,
  random: () => number,
): World & { besides(accessPoint: number): number } {
  const names = createNames();
  const topology = createTopology({ sites: names });
  const fleet = createFleet({ sites: names });
  const sites = points(shape, size.sites, random);
  const accessPoints = points(shape, size.accessPoints, random);
  const nearest = (from: Point, count: number, except: number) =>
    sites
      .map((site, at) => ({
        at,
        far: at === except ? Number.POSITIVE_INFINITY : Math.hypot(site.x - from.x, site.y - from.y),
      }))
      .sort((a, b) => a.far - b.far)
      .slice(0, Math.min(count, size.sites - (except < 0 ? 0 : 1)));
  sites.forEach((_, at) => {
    topology.add('site', `site-${at}`);
  });
  sites.forEach((site, at) => {
    for (const { at: other, far } of nearest(site, 4, at)) {
      const [a, b] = at < other ? [at, other] : [other, at];
      topology.link(`link-${a}-${b}`, {
        between: [`site-${a}`, `site-${b}`],
        latencyMs: HOP_MS + ACROSS_MS * far,
      });
    }
    // A chain through all of them, so that nobody is on an island.
    if (at > 0)
      topology.link(`chain-${at}`, {
        between: [`site-${at - 1}`, `site-${at}`],
        latencyMs: HOP_MS + ACROSS_MS * Math.hypot(site.x - sites[at - 1]!.x, site.y - sites[at - 1]!.y),
      });
    for (let node = 0; node < size.nodesPerSite; node++)
      fleet.set({
        name: `node-${at}-${node}`,
        site: `site-${at}`,
        runtimes: { container: { overheadBytes: 2 ** 20, accelerated: true } },
        cpus: 16,
        cpuOvercommit: 4,
        memoryBytes: 2 ** 32,
        diskBytes: 2 ** 40,
        addresses: 1000,
        ready: true,
        schedulable: true,
      });
  });
  const bySite = new Map<number, number[]>();
  const siteOf: number[] = [];
  accessPoints.forEach((point, at) => {
    topology.add('access-point', `ap-${at}`);
    const two = nearest(point, 2, -1);
    const [first] = two;
    siteOf[at] = first!.at;
    bySite.set(first!.at, [...(bySite.get(first!.at) ?? []), at]);
    for (const { at: site, far } of two)
      topology.link(`radio-${at}-${site}`, {
        between: [`ap-${at}`, `site-${site}`],
        latencyMs: 0.5 + ACROSS_MS * far,
      });
  });
  return {
    topology,
    fleet,
    besides(accessPoint) {
      const neighbours = bySite.get(siteOf[accessPoint]!)!;
      return neighbours[(neighbours.indexOf(accessPoint) + 1) % neighbours.length]!;
    },
  };
}
