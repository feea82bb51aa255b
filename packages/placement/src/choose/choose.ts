/**
 * Chooses k sites for n weighted clients under capacities, so that the total latency is least: greedily, then by swapping
 * one site for another while that helps, then again from choices that were shaken, for as much work as is allowed. The
 * same seed gives the same answer: work is counted, not timed.
 */
import { type Assignment, assign } from './assign.ts';
import { type ChooseRequest, type Instance, instanceOf } from './instance.ts';
import { createEstimator } from './swap.ts';

export interface ChooseOptions {
  /** Default 1. */
  readonly seed?: number;
  /** Clients looked at, all estimates together; default 12 million. */
  readonly work?: number;
  /** Times that the best choice is shaken and improved again; default 40. */
  readonly restarts?: number;
}

export interface Served {
  readonly client: number;
  /** -1: it is not served. */
  readonly site: number;
  readonly weight: number;
}

export interface Choice {
  /** In order. */
  readonly sites: readonly number[];
  readonly served: readonly Served[];
  /** Sum of weight times latency of all that are served. */
  readonly totalMs: number;
  readonly worstMs: number;
  /** Weight that no open site could take, within capacity and bounds. */
  readonly unserved: number;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function greedy(instance: Instance): Assignment {
  let assignment = assign(instance, []);
  while (assignment.open.length - 1 < instance.replicas) {
    const { estimate } = createEstimator(instance, assignment);
    let best = -1;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let site = 0; site < instance.sites; site++) {
      if (assignment.open.includes(site)) continue;
      const cost = estimate(site, -1);
      if (best < 0 || cost < bestCost) {
        best = site;
        bestCost = cost;
      }
    }
    assignment = assign(instance, [...assignment.open.slice(0, -1), best]);
  }
  return assignment;
}

const shuffled = (count: number, random: () => number): number[] => {
  const all = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  return all;
};

/** The sites of a choice with their whole assignment, and the work left. */
export function improve(
  instance: Instance,
  start: Assignment,
  budget: { left: number },
  random: () => number,
): Assignment {
  let assignment = start;
  let estimator = createEstimator(instance, assignment);
  let since = 0;
  for (const order = shuffled(instance.sites, random); since < instance.sites && budget.left > 0; ) {
    const site = order.shift()!;
    order.push(site);
    since++;
    if (assignment.open.includes(site)) continue;
    let best = -1;
    let bestCost = assignment.cost * (1 - 1e-9) - 1e-12;
    const before = estimator.work;
    for (let closed = 0; closed < assignment.open.length - 1; closed++) {
      const cost = estimator.estimate(site, closed);
      if (cost < bestCost) {
        best = closed;
        bestCost = cost;
      }
    }
    budget.left -= estimator.work - before;
    if (best < 0) continue;
    const closed = assignment.open[best]!;
    assignment = assign(instance, [...assignment.open.slice(0, -1).filter((one) => one !== closed), site]);
    // An exact assignment costs about as much as looking at everybody for each open site.
    budget.left -= instance.clients * assignment.open.length;
    estimator = createEstimator(instance, assignment);
    since = 0;
  }
  return assignment;
}

/** Errors: request_invalid (numbers that do not go together). */
export function chooseSites(request: ChooseRequest, options: ChooseOptions = {}): Choice {
  const instance = instanceOf(request);
  const random = numbersFrom(options.seed ?? 1);
  const budget = { left: options.work ?? 12_000_000 };
  let best = greedy(instance);
  if (instance.replicas > 0 && instance.replicas < instance.sites) {
    best = improve(instance, best, budget, random);
    for (let restart = options.restarts ?? 40; restart > 0 && budget.left > 0; restart--) {
      const chosen = best.open.slice(0, -1);
      const shakes = 1 + Math.floor(random() * Math.min(3, chosen.length));
      for (let shake = 0; shake < shakes; shake++) {
        const site = Math.floor(random() * instance.sites);
        if (!chosen.includes(site)) chosen[Math.floor(random() * chosen.length)] = site;
      }
      const found = improve(instance, assign(instance, chosen), budget, random);
      if (found.cost < best.cost) best = found;
    }
  }
  return choiceOf(instance, best);
}

export function choiceOf(instance: Instance, { open, flow }: Assignment): Choice {
  const served: Served[] = [];
  let totalMs = 0;
  let worstMs = 0;
  let unserved = 0;
  const k = open.length;
  for (let client = 0; client < instance.clients; client++) {
    for (let at = 0; at < k; at++) {
      const weight = flow[client * k + at]!;
      if (weight === 0) continue;
      const latencyMs = instance.costs[client * instance.columns + open[at]!]!;
      // Beyond a bound nobody is served: not being served at all is cheaper.
      const site = at === k - 1 ? -1 : open[at]!;
      served.push({ client, site, weight });
      if (site < 0) unserved += weight;
      else {
        totalMs += weight * latencyMs;
        worstMs = Math.max(worstMs, latencyMs);
      }
    }
  }
  return { sites: open.slice(0, -1).sort((a, b) => a - b), served, totalMs, worstMs, unserved };
}
