/**
 * Vertices and undirected links with a latency each, in typed arrays: a list of half links for each vertex. Parallel
 * links, cycles and islands are all right. Removing a link takes time by the number of links at its two ends.
 */
import { atLeast } from '../growing.ts';

export interface Graph {
  readonly vertices: number;
  readonly links: number;
  addVertex(): number;
  /** Milliseconds one way; Infinity while it is down. Returns the link's number, which may be one that was removed before. */
  addLink(a: number, b: number, latencyMs: number): number;
  setLatency(link: number, latencyMs: number): void;
  removeLink(link: number): void;
  latency(link: number): number;
  ends(link: number): readonly [number, number];
  /** The first half link of a vertex; -1 when it has none. Half links 2n and 2n+1 are the two of link n. */
  first(vertex: number): number;
  next(half: number): number;
  to(half: number): number;
}

export function createGraph(): Graph {
  let vertices = 0;
  let halves = 0;
  let heads = new Int32Array(64);
  let nexts = new Int32Array(128);
  let tos = new Int32Array(128);
  let latencies = new Float64Array(64);
  const free: number[] = [];

  const attach = (vertex: number, half: number, to: number) => {
    tos[half] = to;
    nexts[half] = heads[vertex]!;
    heads[vertex] = half;
  };
  const detach = (vertex: number, half: number) => {
    if (heads[vertex] === half) {
      heads[vertex] = nexts[half]!;
      return;
    }
    let at = heads[vertex]!;
    while (nexts[at] !== half) at = nexts[at]!;
    nexts[at] = nexts[half]!;
  };

  return {
    get vertices() {
      return vertices;
    },
    get links() {
      return halves / 2 - free.length;
    },
    addVertex() {
      heads = atLeast(heads, vertices + 1);
      heads[vertices] = -1;
      return vertices++;
    },
    addLink(a, b, latencyMs) {
      let link = free.pop();
      if (link === undefined) {
        link = halves / 2;
        halves += 2;
        nexts = atLeast(nexts, halves);
        tos = atLeast(tos, halves);
        latencies = atLeast(latencies, link + 1);
      }
      latencies[link] = latencyMs;
      attach(a, 2 * link, b);
      attach(b, 2 * link + 1, a);
      return link;
    },
    setLatency(link, latencyMs) {
      latencies[link] = latencyMs;
    },
    removeLink(link) {
      detach(tos[2 * link + 1]!, 2 * link);
      detach(tos[2 * link]!, 2 * link + 1);
      free.push(link);
    },
    latency: (link) => latencies[link]!,
    ends: (link) => [tos[2 * link + 1]!, tos[2 * link]!],
    first: (vertex) => heads[vertex]!,
    next: (half) => nexts[half]!,
    to: (half) => tos[half]!,
  };
}
