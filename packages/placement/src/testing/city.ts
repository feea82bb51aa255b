/** Stations and users as points on a plane: at random, clustered like a city, strung along a road. Latency grows with distance. */
import type { ChooseRequest } from '../choose/instance.ts';

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
