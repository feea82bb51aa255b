/**
 * What opening one site, or opening one in place of another, would cost at the most: clients go over to the new one as it
 * pays and as it has room, and those who lost theirs take the nearest with room. No chains of moves are tried, so the
 * true cost is never above the estimate.
 */
import type { Assignment } from './assign.ts';
import type { Instance } from './instance.ts';

export interface Estimator {
  /** `closed` is a position in the assignment's `open`, -1 for none. At the least Infinity when it is surely no better. */
  estimate(opened: number, closed: number): number;
  /** Clients looked at so far: a measure of the work done. */
  readonly work: number;
}

export function createEstimator(instance: Instance, assignment: Assignment): Estimator {
  const { clients, columns, costs, capacities } = instance;
  const { open, flow } = assignment;
  const k = open.length;
  const client: number[] = [];
  const at: number[] = [];
  const weight: number[] = [];
  const slack = Float64Array.from(open, (column) => capacities[column]!);
  for (let one = 0; one < clients; one++)
    for (let position = 0; position < k; position++) {
      const amount = flow[one * k + position]!;
      if (amount === 0) continue;
      client.push(one);
      at.push(position);
      weight.push(amount);
      slack[position]! -= amount;
    }
  const pieces = client.length;
  const current = new Float64Array(pieces);
  /** The nearest open site, and the nearest other one, whether they have room or not. */
  const first = new Int32Array(pieces);
  const firstCost = new Float64Array(pieces);
  const secondCost = new Float64Array(pieces);
  for (let piece = 0; piece < pieces; piece++) {
    const row = client[piece]! * columns;
    current[piece] = costs[row + open[at[piece]!]!]!;
    let best = 0;
    let bestCost = Number.POSITIVE_INFINITY;
    let nextCost = Number.POSITIVE_INFINITY;
    for (let position = 0; position < k; position++) {
      const cost = costs[row + open[position]!]!;
      if (cost < bestCost) {
        nextCost = bestCost;
        bestCost = cost;
        best = position;
      } else if (cost < nextCost) nextCost = cost;
    }
    first[piece] = best;
    firstCost[piece] = bestCost;
    secondCost[piece] = nextCost;
  }
  const room = new Float64Array(k);
  const gains = new Float64Array(pieces);
  let work = 0;

  return {
    get work() {
      return work;
    },
    estimate(opened, closed) {
      work += pieces;
      let need = 0;
      const wanting: number[] = [];
      let least = 0;
      for (let piece = 0; piece < pieces; piece++) {
        const cost = costs[client[piece]! * columns + opened]!;
        const mine = at[piece] === closed;
        const without = first[piece] === closed ? secondCost[piece]! : firstCost[piece]!;
        least += weight[piece]! * Math.min(cost, without);
        const gain = (mine ? without : current[piece]!) - cost;
        if (gain <= 0) continue;
        gains[piece] = gain;
        need += weight[piece]!;
        wanting.push(piece);
      }
      // Even without any bound on room it would be no better.
      if (least >= assignment.cost) return Number.POSITIVE_INFINITY;
      let newRoom = capacities[opened]!;
      if (need > newRoom) wanting.sort((a, b) => gains[b]! - gains[a]!);
      room.set(slack);
      let total = assignment.cost;
      const moved = new Map<number, number>();
      for (const piece of wanting) {
        if (newRoom <= 0) break;
        const amount = Math.min(newRoom, weight[piece]!);
        newRoom -= amount;
        total += amount * (costs[client[piece]! * columns + opened]! - current[piece]!);
        if (at[piece] !== closed) room[at[piece]!]! += amount;
        else moved.set(piece, amount);
      }
      if (closed < 0) return total;
      for (let piece = 0; piece < pieces; piece++) {
        if (at[piece] !== closed) continue;
        const row = client[piece]! * columns;
        let left = weight[piece]! - (moved.get(piece) ?? 0);
        while (left > 1e-9) {
          let best = -1;
          let bestCost = Number.POSITIVE_INFINITY;
          for (let position = 0; position < k; position++) {
            if (position === closed || room[position]! <= 0) continue;
            const cost = costs[row + open[position]!]!;
            if (cost < bestCost) {
              bestCost = cost;
              best = position;
            }
          }
          const costThere = costs[row + opened]!;
          const there = newRoom > 0 && costThere < bestCost;
          const amount = Math.min(left, there ? newRoom : room[best]!);
          if (there) newRoom -= amount;
          else room[best]! -= amount;
          total += amount * ((there ? costThere : bestCost) - current[piece]!);
          left -= amount;
        }
      }
      return total;
    },
  };
}
