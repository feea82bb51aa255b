/**
 * What opening one site, or opening one in place of another, would cost at the most: clients go over to the new one as it
 * pays and as it has room, and those who lost theirs take the nearest with room. No chains of moves are tried, so the
 * true cost is never above the estimate.
 */
import type { Assignment } from './assign.ts';
import type { Instance } from './instance.ts';

export interface Estimator {
  /**
   * The position in `open` of the site that is best closed when `opened` is opened, with the cost of that at the most; -1
   * and Infinity when none is better than the assignment is.
   */
  bestSwap(opened: number): { readonly closed: number; readonly cost: number };
  /** `closed` is a position in the assignment's `open`, -1 for none. */
  estimate(opened: number, closed: number): number;
  /** Clients looked at so far: a measure of the work done. */
  readonly work: number;
}

export function createEstimator(instance: Instance, assignment: Assignment): Estimator {
  const { clients, columns, costs, byColumn, capacities } = instance;
  const open = [...assignment.open];
  const k = open.length;
  const assignedCost = assignment.cost;
  const position = new Map(open.map((column, at) => [column, at]));
  const clientList: number[] = [];
  const atList: number[] = [];
  const weightList: number[] = [];
  const slack = Float64Array.from(open, (column) => capacities[column]!);
  assignment.shares((one, column, amount) => {
    const at = position.get(column)!;
    clientList.push(one);
    atList.push(at);
    weightList.push(amount);
    slack[at]! -= amount;
  });
  const pieces = clientList.length;
  const client = Int32Array.from(clientList);
  const at = Int32Array.from(atList);
  const weight = Float64Array.from(weightList);
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
  const wanting = new Int32Array(pieces);
  /** Of the weight of each piece, what did not go to the new site. */
  const stays = new Float64Array(pieces);
  let work = 0;

  const least = new Float64Array(k);

  /**
   * What each swap would cost at the least, were there room for all (Whitaker, "A fast algorithm for the greedy
   * interchange", 1983): all positions in one pass.
   */
  const bounds = (opened: number) => {
    work += pieces;
    least.fill(0);
    let base = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const cost = byColumn[opened * clients + client[piece]!]!;
      const one = firstCost[piece]!;
      if (cost < one) base += weight[piece]! * cost;
      else {
        base += weight[piece]! * one;
        const two = secondCost[piece]!;
        least[first[piece]!]! += weight[piece]! * (Math.min(cost, two) - one);
      }
    }
    for (let position = 0; position < k; position++) least[position]! += base;
  };

  const estimate = (opened: number, closed: number): number => {
    work += pieces;
    const column = opened * clients;
    let need = 0;
    let wants = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const without =
        at[piece] !== closed
          ? current[piece]!
          : first[piece] === closed
            ? secondCost[piece]!
            : firstCost[piece]!;
      const gain = without - byColumn[column + client[piece]!]!;
      if (gain <= 0) continue;
      gains[piece] = gain;
      need += weight[piece]!;
      wanting[wants++] = piece;
    }
    let newRoom = capacities[opened]!;
    if (need > newRoom) {
      work += 4 * wants;
      wanting.subarray(0, wants).sort((a, b) => gains[b]! - gains[a]!);
    }
    room.set(slack);
    let total = assignedCost;
    stays.set(weight);
    for (let next = 0; next < wants && newRoom > 0; next++) {
      const piece = wanting[next]!;
      const amount = Math.min(newRoom, weight[piece]!);
      newRoom -= amount;
      total += amount * (byColumn[column + client[piece]!]! - current[piece]!);
      room[at[piece]!]! += amount;
      stays[piece]! -= amount;
    }
    if (closed < 0) return total;
    for (let piece = 0; piece < pieces; piece++) {
      if (at[piece] !== closed) continue;
      const row = client[piece]! * columns;
      let left = stays[piece]!;
      while (left > 1e-9) {
        let best = -1;
        let bestCost = newRoom > 0 ? costs[row + opened]! : Number.POSITIVE_INFINITY;
        for (let position = 0; position < k; position++) {
          if (position === closed || room[position]! <= 0) continue;
          const cost = costs[row + open[position]!]!;
          if (cost < bestCost) {
            bestCost = cost;
            best = position;
          }
        }
        const amount = Math.min(left, best < 0 ? newRoom : room[best]!);
        if (best < 0) newRoom -= amount;
        else room[best]! -= amount;
        total += amount * (bestCost - current[piece]!);
        left -= amount;
      }
    }
    return total;
  };

  return {
    get work() {
      return work;
    },
    estimate,
    bestSwap(opened) {
      bounds(opened);
      let closed = -1;
      let cost = assignedCost * (1 - 1e-9) - 1e-12;
      // The last position stands for not being served: it is never closed.
      for (let position = 0; position < k - 1; position++) {
        if (least[position]! >= cost) continue;
        const found = estimate(opened, position);
        if (found < cost) {
          closed = position;
          cost = found;
        }
      }
      return { closed, cost: closed < 0 ? Number.POSITIVE_INFINITY : cost };
    },
  };
}
