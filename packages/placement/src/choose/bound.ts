/**
 * A lower bound of what any choice costs: the assignment is relaxed with a price for each client, and the prices are
 * improved step by step (Held, Wolfe and Crowder, "Validation of subgradient optimization", 1974). For each price the best
 * k sites are found exactly. The bound is as strong as that of the linear program.
 */
import type { Instance } from './instance.ts';

export interface Bound {
  readonly cost: number;
  /** The sites that the best prices chose. */
  readonly chosen: readonly number[];
  /** What each site would bring at those prices: 0 or below; the lesser, the better. */
  readonly values: Float64Array;
  readonly prices: Float64Array;
}

export interface BoundOptions {
  /** The cost of a known choice. */
  readonly upper: number;
  readonly steps: number;
  /** 1: must be open; -1: must not; 0: free. */
  readonly fixed?: Int8Array;
  readonly prices?: Float64Array;
  /** Ends early once the bound is above. */
  readonly enough?: number;
}

export function lowerBound(instance: Instance, options: BoundOptions): Bound {
  const { clients, sites, columns, costs, weights, capacities, replicas, unservedMs } = instance;
  const { fixed, upper } = options;
  const prices = options.prices ? Float64Array.from(options.prices) : new Float64Array(clients);
  if (!options.prices) {
    for (let client = 0; client < clients; client++) {
      const row = Array.from(costs.subarray(client * columns, client * columns + sites)).sort(
        (a, b) => a - b,
      );
      prices[client] = row[Math.min(sites - 1, Math.ceil(sites / Math.max(1, replicas)))] ?? unservedMs;
    }
  }
  const values = new Float64Array(sites);
  const takes: { client: number; weight: number }[][] = Array.from({ length: sites }, () => []);
  const served = new Float64Array(clients);
  const order = Array.from({ length: sites }, (_, site) => site);
  const reduced = new Float64Array(clients);
  let best: Bound = { cost: Number.NEGATIVE_INFINITY, chosen: [], values: new Float64Array(sites), prices };
  let scale = 1.5;
  let since = 0;

  for (let step = 0; step < options.steps; step++) {
    for (let site = 0; site < sites; site++) {
      const wanted: number[] = [];
      for (let client = 0; client < clients; client++) {
        const gain = costs[client * columns + site]! - prices[client]!;
        if (gain < 0) {
          reduced[client] = gain;
          wanted.push(client);
        }
      }
      let room = capacities[site]!;
      let need = 0;
      for (const client of wanted) need += weights[client]!;
      if (need > room) wanted.sort((a, b) => reduced[a]! - reduced[b]!);
      const taken = takes[site]!;
      taken.length = 0;
      values[site] = 0;
      for (const client of wanted) {
        const weight = Math.min(room, weights[client]!);
        if (room <= 0) break;
        room -= weight;
        values[site]! += weight * reduced[client]!;
        taken.push({ client, weight });
      }
    }
    order.sort((a, b) => (fixed ? fixed[b]! - fixed[a]! : 0) || values[a]! - values[b]! || a - b);
    const chosen = order.slice(0, replicas).filter((site) => !fixed || fixed[site] !== -1);
    let cost = 0;
    served.fill(0);
    for (const site of chosen) {
      cost += values[site]!;
      for (const { client, weight } of takes[site]!) served[client]! += weight;
    }
    let norm = 0;
    for (let client = 0; client < clients; client++) {
      // Nobody pays more than not being served costs: that way is open to all.
      cost += weights[client]! * Math.min(prices[client]!, unservedMs);
      norm += (weights[client]! - served[client]!) ** 2;
    }
    if (cost > best.cost) {
      if (cost > best.cost + 1e-4 * Math.abs(cost)) since = 0;
      best = { cost, chosen, values: Float64Array.from(values), prices: Float64Array.from(prices) };
    }
    if (options.enough !== undefined && best.cost > options.enough) break;
    if (norm < 1e-12) break;
    if (++since > 12) {
      scale *= 0.6;
      since = 0;
      prices.set(best.prices);
      if (scale < 1e-3) break;
    }
    const length = (scale * Math.max(1e-9, 1.02 * upper - cost)) / norm;
    for (let client = 0; client < clients; client++)
      prices[client] = Math.min(
        unservedMs,
        Math.max(0, prices[client]! + length * (weights[client]! - served[client]!)),
      );
  }
  return best;
}
