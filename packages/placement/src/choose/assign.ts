/**
 * Which client goes to which of the open sites, at the least total cost under the capacities: exact, by shortest
 * augmenting paths among the sites (Busacker and Gowen 1960; Tomizawa 1971). A client may be split between sites: it
 * stands for many users. Sites are opened and closed one by one; each time only what has to move is moved.
 */
import type { Instance } from './instance.ts';

export interface Assignment {
  /** Columns that are open, the one for not being served last. */
  readonly open: readonly number[];
  readonly cost: number;
  /** Steps that it took so far, to be counted against a budget. */
  readonly work: number;
  /** Weight of a client that goes to a column. */
  flow(client: number, column: number): number;
  /** Column and weight, for each that has some of the client. */
  shares(visit: (client: number, column: number, weight: number) => void): void;
  openSite(site: number): void;
  closeSite(site: number): void;
  copy(): Assignment;
}

const EPSILON = 1e-9;

/** Everybody assigned, with only the `chosen` sites open. */
export function assign(instance: Instance, chosen: readonly number[]): Assignment {
  const { clients, columns, sites, weights, capacities } = instance;
  const state: State = {
    open: [...chosen, sites],
    flow: new Float64Array(clients * columns),
    slack: Float64Array.from(capacities),
    members: Array.from({ length: columns }, () => []),
    work: 0,
  };
  const assignment = assignmentOf(instance, state);
  for (let client = 0; client < clients; client++) assignment.insert(client, weights[client]!);
  return assignment;
}

interface State {
  open: number[];
  /** By client times `columns` plus column. */
  readonly flow: Float64Array;
  readonly slack: Float64Array;
  /** Clients with a share of each column, to be moved on; some may have left again. */
  readonly members: number[][];
  work: number;
}

function assignmentOf(
  instance: Instance,
  state: State,
): Assignment & { insert(client: number, weight: number): void } {
  const { columns, costs, sites, capacities } = instance;
  const { flow, slack, members } = state;
  const distance = new Float64Array(columns);
  const cameFrom = new Int32Array(columns);
  const mover = new Int32Array(columns);
  const queued = new Uint8Array(columns);
  const queue: number[] = [];

  const put = (client: number, column: number, amount: number) => {
    const cell = client * columns + column;
    if (flow[cell] === 0) members[column]!.push(client);
    flow[cell]! += amount;
    if (!stale[column]) compare(client, column);
  };
  /** Takes some of the client from a column. */
  const pull = (client: number, column: number, amount: number) => {
    const cell = client * columns + column;
    flow[cell]! -= amount;
    if (flow[cell]! <= EPSILON) stale[column] = 1;
  };
  /** Who has a share of the column, with those struck out who have left. */
  const membersOf = (column: number): number[] => {
    const here = members[column]!;
    let kept = 0;
    for (const client of here) {
      if (flow[client * columns + column]! > EPSILON) here[kept++] = client;
      else flow[client * columns + column] = 0;
    }
    here.length = kept;
    return here;
  };
  /**
   * For each pair of columns the least that moving a member of the one to the other costs, and who that is. Rows are found
   * anew when somebody left; of who comes, it is enough to compare.
   */
  const edge = new Float64Array(columns * columns);
  const edgeMover = new Int32Array(columns * columns);
  const stale = new Uint8Array(columns).fill(1);
  const compare = (client: number, from: number) => {
    const row = client * columns;
    for (const to of state.open) {
      const change = costs[row + to]! - costs[row + from]!;
      if (change >= edge[from * columns + to]!) continue;
      edge[from * columns + to] = change;
      edgeMover[from * columns + to] = client;
    }
    state.work += state.open.length;
  };
  const freshen = (from: number) => {
    if (!stale[from]) return;
    stale[from] = 0;
    edge.fill(Number.POSITIVE_INFINITY, from * columns, (from + 1) * columns);
    for (const client of membersOf(from)) compare(client, from);
  };
  /** Shortest ways on from what is queued, each step moving a member from one column to another. */
  const spread = (target: number) => {
    const { open } = state;
    for (let next = 0; next < queue.length; next++) {
      const from = queue[next]!;
      queued[from] = 0;
      freshen(from);
      const base = distance[from]!;
      state.work += open.length;
      for (const to of open) {
        const through = base + edge[from * columns + to]!;
        if (through >= distance[to]! - EPSILON) continue;
        distance[to] = through;
        cameFrom[to] = from;
        mover[to] = edgeMover[from * columns + to]!;
        // From a column with room nobody is moved on, nor from the one that is to be reached.
        if (to !== target && slack[to]! <= EPSILON && !queued[to]) {
          queued[to] = 1;
          queue.push(to);
        }
      }
    }
    queue.length = 0;
  };
  /** Moves along the way to `end`, at most `amount`. Returns how much. */
  const move = (end: number, amount: number): number => {
    let moved = Math.min(amount, slack[end]!);
    let first = end;
    for (; cameFrom[first]! >= 0; first = cameFrom[first]!)
      moved = Math.min(moved, flow[mover[first]! * columns + cameFrom[first]!]!);
    slack[end]! -= moved;
    for (let at = end; at !== first; at = cameFrom[at]!) {
      put(mover[at]!, at, moved);
      pull(mover[at]!, cameFrom[at]!, moved);
    }
    return moved;
  };

  const insert = (client: number, weight: number) => {
    const row = client * columns;
    for (let left = weight; left > EPSILON; ) {
      const { open } = state;
      state.work += open.length;
      // Where the nearest has room, nothing can be cheaper.
      let nearest = sites;
      for (const column of open) if (costs[row + column]! < costs[row + nearest]!) nearest = column;
      if (slack[nearest]! > EPSILON) {
        const moved = Math.min(left, slack[nearest]!);
        slack[nearest]! -= moved;
        put(client, nearest, moved);
        left -= moved;
        continue;
      }
      for (const column of open) {
        distance[column] = costs[row + column]!;
        cameFrom[column] = -1;
        queued[column] = slack[column]! > EPSILON ? 0 : 1;
        if (queued[column]) queue.push(column);
      }
      spread(-1);
      let end = sites;
      for (const column of open)
        if (slack[column]! > EPSILON && distance[column]! < distance[end]!) end = column;
      let first = end;
      while (cameFrom[first]! >= 0) first = cameFrom[first]!;
      const moved = move(end, left);
      put(client, first, moved);
      left -= moved;
    }
  };

  return {
    insert,
    get open() {
      return state.open;
    },
    get work() {
      return state.work;
    },
    get cost() {
      let total = 0;
      for (const column of state.open)
        for (const client of membersOf(column))
          total += flow[client * columns + column]! * costs[client * columns + column]!;
      return total;
    },
    flow: (client, column) => flow[client * columns + column]!,
    shares(visit) {
      for (const column of state.open)
        for (const client of membersOf(column)) visit(client, column, flow[client * columns + column]!);
    },
    openSite(site) {
      state.open = [site, ...state.open];
      stale.fill(1);
      slack[site] = capacities[site]!;
      // As long as moving somebody there, and others into the room that this leaves, makes it cheaper.
      while (slack[site]! > EPSILON) {
        for (const column of state.open) {
          distance[column] = 0;
          cameFrom[column] = -1;
          queued[column] = column === site ? 0 : 1;
          if (queued[column]) queue.push(column);
        }
        spread(site);
        if (cameFrom[site]! < 0 || distance[site]! > -1e-7) break;
        let first = site;
        while (cameFrom[first]! >= 0) first = cameFrom[first]!;
        const moved = move(site, Number.POSITIVE_INFINITY);
        slack[first]! += moved;
      }
    },
    closeSite(site) {
      state.open = state.open.filter((column) => column !== site);
      const leaving = [...membersOf(site)];
      members[site] = [];
      slack[site] = capacities[site]!;
      for (const client of leaving) {
        const cell = client * columns + site;
        const weight = flow[cell]!;
        flow[cell] = 0;
        insert(client, weight);
      }
    },
    copy: () =>
      assignmentOf(instance, {
        open: [...state.open],
        flow: Float64Array.from(flow),
        slack: Float64Array.from(slack),
        members: members.map((here) => [...here]),
        work: 0,
      }),
  };
}
