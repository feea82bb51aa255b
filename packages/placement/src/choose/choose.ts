/**
 * Chooses k sites for n weighted clients under capacities, so that the total latency is least: greedily, then by swapping
 * one site for another while that helps, then again from choices that were shaken, for as much work as is allowed. The
 * same seed gives the same answer: work is counted, not timed.
 */
import { seeded } from '../seeded.ts';
import { type Assignment, assign } from './assign.ts';
import { type ChooseRequest, type Instance, instanceOf } from './instance.ts';
import { createEstimator } from './swap.ts';

export interface ChooseOptions {
  /** Default 1. */
  readonly seed?: number;
  /** Clients looked at, all estimates together; default 5 million. */
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

/**
 * One site after the other, each the one to which most is gained by going over, as far as it has room. Nobody is moved on
 * from a site that is full: that is left to the exact assignment at the end.
 */
function greedy(instance: Instance): number[] {
  const { clients, sites, weights, capacities, byColumn, unservedMs, replicas } = instance;
  const current = new Float64Array(clients).fill(unservedMs);
  const chosen: number[] = [];
  const wanting = new Int32Array(clients);
  /** Who would go over to the site, the greatest gain first where not all have room, and what that brings. */
  const look = (site: number, take: boolean): number => {
    const costs = byColumn.subarray(site * clients, (site + 1) * clients);
    let wants = 0;
    let need = 0;
    for (let client = 0; client < clients; client++) {
      if (costs[client]! >= current[client]!) continue;
      wanting[wants++] = client;
      need += weights[client]!;
    }
    let room = capacities[site]!;
    if (need > room)
      wanting.subarray(0, wants).sort((a, b) => current[b]! - costs[b]! - (current[a]! - costs[a]!));
    let gain = 0;
    for (let next = 0; next < wants; next++) {
      const client = wanting[next]!;
      if (weights[client]! > room) continue;
      room -= weights[client]!;
      gain += weights[client]! * (current[client]! - costs[client]!);
      if (take) current[client] = costs[client]!;
    }
    return gain;
  };
  while (chosen.length < replicas) {
    let best = -1;
    let bestGain = -1;
    for (let site = 0; site < sites; site++) {
      if (chosen.includes(site)) continue;
      const gain = look(site, false);
      if (gain > bestGain) {
        best = site;
        bestGain = gain;
      }
    }
    look(best, true);
    chosen.push(best);
  }
  return chosen;
}

const shuffled = (count: number, random: () => number): number[] => {
  const all = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  return all;
};

/** Swaps while that helps. Changes the assignment. */
function improve(
  instance: Instance,
  assignment: Assignment,
  budget: { left: number },
  random: () => number,
): void {
  let estimator = createEstimator(instance, assignment);
  let since = 0;
  for (const order = shuffled(instance.sites, random); since < instance.sites && budget.left > 0; ) {
    const site = order.shift()!;
    order.push(site);
    since++;
    if (assignment.open.includes(site)) continue;
    const before = estimator.work;
    const { closed } = estimator.bestSwap(site);
    budget.left -= estimator.work - before;
    if (closed < 0) continue;
    const leaving = assignment.open[closed]!;
    const worked = assignment.work;
    assignment.openSite(site);
    assignment.closeSite(leaving);
    budget.left -= assignment.work - worked;
    estimator = createEstimator(instance, assignment);
    since = 0;
  }
}

/** Errors: request_invalid (numbers that do not go together). */
export function chooseSites(request: ChooseRequest, options: ChooseOptions = {}): Choice {
  const instance = instanceOf(request);
  const random = seeded(options.seed ?? 1);
  const budget = { left: options.work ?? 5_000_000 };
  let best = assign(instance, greedy(instance));
  if (instance.replicas > 0 && instance.replicas < instance.sites) {
    budget.left -= best.work;
    improve(instance, best, budget, random);
    for (let restart = options.restarts ?? 40; restart > 0 && budget.left > 0; restart--) {
      const found = best.copy();
      const shakes = 1 + Math.floor(random() * Math.min(3, instance.replicas));
      for (let shake = 0; shake < shakes; shake++) {
        const site = Math.floor(random() * instance.sites);
        if (found.open.includes(site)) continue;
        const leaving = found.open[Math.floor(random() * instance.replicas)]!;
        found.openSite(site);
        found.closeSite(leaving);
      }
      budget.left -= found.work;
      improve(instance, found, budget, random);
      if (found.cost < best.cost) best = found;
    }
  }
  return choiceOf(instance, best);
}

export function choiceOf(instance: Instance, assignment: Assignment): Choice {
  const served: Served[] = [];
  let totalMs = 0;
  let worstMs = 0;
  let unserved = 0;
  assignment.shares((client, column, weight) => {
    // Beyond a bound nobody is served: not being served at all is cheaper.
    const site = column === instance.sites ? -1 : column;
    served.push({ client, site, weight });
    if (site < 0) {
      unserved += weight;
      return;
    }
    const latencyMs = instance.costs[client * instance.columns + column]!;
    totalMs += weight * latencyMs;
    worstMs = Math.max(worstMs, latencyMs);
  });
  served.sort((a, b) => a.client - b.client || a.site - b.site);
  return {
    sites: assignment.open.filter((column) => column !== instance.sites).sort((a, b) => a - b),
    served,
    totalMs,
    worstMs,
    unserved,
  };
}
