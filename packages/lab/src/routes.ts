/**
 * The routes of a lab: from every router to every part, by the shortest latency over the wires that are not cut. Computed when
 * the lab is made, and again at each cut, heal and move; what changed is then written into the routers. Pure.
 *
 * A wire that drops packets in one direction only stays in use, as it would where nobody looks at both: that is what makes it
 * a half-open partition.
 */
import type { LabPlan, Wire } from './plan.ts';

export interface Route {
  /** An address, or `default`. */
  readonly to: string;
  /** The next router; absent: the part is at this interface. */
  readonly via?: string;
  readonly device: string;
}

export interface Attachments {
  /** Names of wires that carry nothing. */
  readonly cut: ReadonlySet<string>;
  /** Router of each client; none: it is away. */
  readonly clients: ReadonlyMap<string, string>;
  /** Machines that are on. */
  readonly machines: ReadonlySet<string>;
}

interface Step {
  readonly wire: Wire;
  readonly to: string;
}
interface Way {
  readonly latencyMs: number;
  readonly hops: number;
  /** The first step, and the wire of the last; absent: one is there already. */
  readonly first?: Step;
  readonly last?: Wire;
}

/** The shortest way from a router to each one that can be reached: by latency, then by hops, then by the order of the wires. */
export function shortestWays(plan: LabPlan, cut: ReadonlySet<string>, from: string): Map<string, Way> {
  const steps = new Map<string, Step[]>();
  for (const wire of plan.wires) {
    if (cut.has(wire.name)) continue;
    const [a, b] = wire.between;
    steps.set(a, [...(steps.get(a) ?? []), { wire, to: b }]);
    steps.set(b, [...(steps.get(b) ?? []), { wire, to: a }]);
  }
  const done = new Map<string, Way>();
  const open = new Map<string, Way>([[from, { latencyMs: 0, hops: 0 }]]);
  while (open.size > 0) {
    const [name, way] = [...open].reduce((best, other) => (isShorter(other[1], best[1]) ? other : best));
    open.delete(name);
    done.set(name, way);
    for (const step of steps.get(name) ?? []) {
      if (done.has(step.to)) continue;
      const longer = {
        latencyMs: way.latencyMs + step.wire.latencyMs,
        hops: way.hops + 1,
        first: way.first ?? step,
        last: step.wire,
      };
      const known = open.get(step.to);
      if (!known || isShorter(longer, known)) open.set(step.to, longer);
    }
  }
  return done;
}

/** Sums of the same latencies in another order differ in their last bits: these are equal. */
const SAME_MS = 1e-6;
const isShorter = (a: Way, b: Way): boolean =>
  a.latencyMs < b.latencyMs - SAME_MS || (a.latencyMs < b.latencyMs + SAME_MS && a.hops < b.hops);

/** Routes of each router, by its name. What can not be reached has none. */
export function routesOf(plan: LabPlan, now: Attachments): Map<string, Route[]> {
  const addressOf = new Map(plan.routers.map(({ name, address }) => [name, address]));
  const parts = [
    ...plan.routers.map(({ name, address }) => ({ at: name, address, device: undefined })),
    ...plan.machines
      .filter(({ name }) => now.machines.has(name))
      .map(({ site, address, device }) => ({ at: site, address, device })),
    ...plan.clients.flatMap(({ name, address, device }) => {
      const at = now.clients.get(name);
      return at === undefined ? [] : [{ at, address, device }];
    }),
  ];
  const nodes = plan.machines.filter(({ name, role }) => role === 'agent' && now.machines.has(name));
  const all = new Map<string, Route[]>();
  for (const { name } of plan.routers) {
    const ways = shortestWays(plan, now.cut, name);
    const towards = (to: string, at: string, device: string | undefined): Route[] => {
      const way = ways.get(at);
      if (!way) return [];
      if (way.first) return [{ to, via: addressOf.get(way.first.to)!, device: way.first.wire.device }];
      return device === undefined ? [] : [{ to, device }];
    };
    const routes = parts.flatMap(({ address, at, device }) => towards(address, at, device));
    // What belongs to nobody goes to the nearest node: there the addresses of services are led on.
    const nearest = nodes.reduce<(typeof nodes)[number] | undefined>((best, node) => {
      const [own, other] = [ways.get(node.site), best && ways.get(best.site)];
      return own && (!other || isShorter(own, other)) ? node : best;
    }, undefined);
    if (nearest) {
      const [route] = towards('default', nearest.site, nearest.device);
      if (route) {
        const local = route.via === undefined ? { ...route, via: nearest.address } : route;
        routes.push(local, { ...local, to: plan.nearestNode });
      }
    }
    all.set(name, routes);
  }
  return all;
}
