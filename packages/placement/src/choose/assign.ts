/**
 * Which client goes to which of the open sites, at the least total cost under the capacities: exact, by shortest
 * augmenting paths among the sites (Busacker and Gowen 1960; Tomizawa 1971). A client may be split between sites: it
 * stands for many users.
 */
import type { Instance } from './instance.ts';

export interface Assignment {
  /** Columns that are open, the one for not being served last. */
  readonly open: readonly number[];
  /** By client times the length of `open`: weight that goes there. */
  readonly flow: Float64Array;
  readonly cost: number;
}

const EPSILON = 1e-9;

export function assign(instance: Instance, chosen: readonly number[]): Assignment {
  const { clients, columns, costs, weights, capacities, sites } = instance;
  const open = [...chosen, sites];
  const k = open.length;
  const cost = new Float64Array(clients * k);
  for (let client = 0; client < clients; client++)
    for (let at = 0; at < k; at++) cost[client * k + at] = costs[client * columns + open[at]!]!;
  const flow = new Float64Array(clients * k);
  const slack = Float64Array.from(open, (column) => capacities[column]!);
  /** Clients with a share at each site, to move on from there; some may have left again. */
  const members: number[][] = open.map(() => []);
  const put = (client: number, at: number, amount: number) => {
    const cell = client * k + at;
    if (flow[cell] === 0) members[at]!.push(client);
    flow[cell]! += amount;
  };

  const distance = new Float64Array(k);
  const cameFrom = new Int32Array(k);
  const mover = new Int32Array(k);
  const queued = new Uint8Array(k);

  /** The cheapest way to put some of the client's weight somewhere, moving others on. Returns how much. */
  const augment = (client: number, amount: number): number => {
    const queue: number[] = [];
    for (let at = 0; at < k; at++) {
      distance[at] = cost[client * k + at]!;
      cameFrom[at] = -1;
      mover[at] = client;
      queued[at] = slack[at]! > EPSILON ? 0 : 1;
      if (queued[at]) queue.push(at);
    }
    // Only from full sites is anybody moved on.
    for (let next = 0; next < queue.length; next++) {
      const from = queue[next]!;
      queued[from] = 0;
      const here = members[from]!;
      const base = distance[from]!;
      for (let index = 0; index < here.length; ) {
        const other = here[index]!;
        const row = other * k;
        if (flow[row + from]! <= EPSILON) {
          flow[row + from] = 0;
          here[index] = here[here.length - 1]!;
          here.pop();
          continue;
        }
        index++;
        const left = base - cost[row + from]!;
        for (let to = 0; to < k; to++) {
          const through = left + cost[row + to]!;
          if (through < distance[to]! - EPSILON) {
            distance[to] = through;
            cameFrom[to] = from;
            mover[to] = other;
            if (slack[to]! <= EPSILON && !queued[to]) {
              queued[to] = 1;
              queue.push(to);
            }
          }
        }
      }
    }
    let end = -1;
    for (let at = 0; at < k; at++)
      if (slack[at]! > EPSILON && (end < 0 || distance[at]! < distance[end]!)) end = at;
    let moved = Math.min(amount, slack[end]!);
    for (let at = end; cameFrom[at]! >= 0; at = cameFrom[at]!)
      moved = Math.min(moved, flow[mover[at]! * k + cameFrom[at]!]!);
    slack[end]! -= moved;
    for (let at = end; at >= 0; at = cameFrom[at]!) {
      put(mover[at]!, at, moved);
      if (cameFrom[at]! >= 0) flow[mover[at]! * k + cameFrom[at]!]! -= moved;
    }
    return moved;
  };

  for (let client = 0; client < clients; client++) {
    let left = weights[client]!;
    while (left > EPSILON) {
      // Where the nearest has room, nothing can be cheaper.
      let nearest = 0;
      for (let at = 1; at < k; at++) if (cost[client * k + at]! < cost[client * k + nearest]!) nearest = at;
      if (slack[nearest]! > EPSILON) {
        const moved = Math.min(left, slack[nearest]!);
        slack[nearest]! -= moved;
        put(client, nearest, moved);
        left -= moved;
      } else left -= augment(client, left);
    }
  }
  let total = 0;
  for (let cell = 0; cell < flow.length; cell++) {
    if (flow[cell]! <= EPSILON) flow[cell] = 0;
    else total += flow[cell]! * cost[cell]!;
  }
  return { open, flow, cost: total };
}
