/**
 * Shortest paths from one vertex, found as deep as somebody asked and resumed where they ended (Dijkstra, "A note on two
 * problems in connexion with graphs", 1959). What is kept for each source is the settled part only: the open part follows
 * from it, so that thousands of sources stay small. A search deepens by doubling, so each vertex is loaded again at most
 * once on average.
 */
import { atLeast } from '../growing.ts';
import type { Graph } from './graph.ts';
import { createHeap } from './heap.ts';

export interface Search {
  readonly source: number;
  /** In order of distance, of equal ones by number. */
  vertices: Int32Array;
  distancesMs: Float64Array;
  /** The half link that leads to each from the one before it on its path; -1 for the source. */
  via: Int32Array;
  settled: number;
  /** No vertex that is not settled is nearer than this. Infinity: all that can be reached is settled. */
  frontierMs: number;
}

export interface Searcher {
  start(source: number): Search;
  /** Settles at least `count` vertices, or all that can be reached. The graph must be as it was when the search began. */
  deepen(search: Search, count: number): void;
}

/** Position of a vertex among the settled ones; -1 when it is not among them. */
export function positionOf(search: Search, vertex: number): number {
  const at = search.vertices.indexOf(vertex);
  return at < search.settled ? at : -1;
}

export function createSearcher(graph: Graph): Searcher {
  const heap = createHeap();
  /** `round` for one that is open, -`round` for one that is settled: nothing needs to be cleared. */
  let marks = new Int32Array(64);
  let distances = new Float64Array(64);
  let vias = new Int32Array(64);
  let round = 0;

  const relax = (vertex: number, distance: number) => {
    for (let half = graph.first(vertex); half >= 0; half = graph.next(half)) {
      const latency = graph.latency(half >> 1);
      if (latency === Number.POSITIVE_INFINITY) continue;
      const to = graph.to(half);
      const mark = marks[to]!;
      if (mark === -round) continue;
      const found = distance + latency;
      if (mark === round && distances[to]! <= found) continue;
      marks[to] = round;
      distances[to] = found;
      vias[to] = half;
      heap.push(found, to);
    }
  };

  return {
    start: (source) => ({
      source,
      vertices: new Int32Array(16).fill(-1),
      distancesMs: new Float64Array(16),
      via: new Int32Array(16),
      settled: 0,
      frontierMs: 0,
    }),
    deepen(search, count) {
      if (search.settled >= count || search.frontierMs === Number.POSITIVE_INFINITY) return;
      marks = atLeast(marks, graph.vertices);
      distances = atLeast(distances, graph.vertices);
      vias = atLeast(vias, graph.vertices);
      round++;
      heap.clear();
      let { vertices, distancesMs, via, settled } = search;
      if (settled === 0) {
        marks[search.source] = round;
        distances[search.source] = 0;
        vias[search.source] = -1;
        heap.push(0, search.source);
      }
      for (let at = 0; at < settled; at++) marks[vertices[at]!] = -round;
      for (let at = 0; at < settled; at++) relax(vertices[at]!, distancesMs[at]!);
      let frontierMs = Number.POSITIVE_INFINITY;
      while (heap.size > 0) {
        const distance = heap.key;
        if (settled >= count) {
          frontierMs = distance;
          break;
        }
        const vertex = heap.pop();
        if (marks[vertex] !== round || distances[vertex] !== distance) continue;
        marks[vertex] = -round;
        if (settled === vertices.length) {
          vertices = atLeast(vertices, settled + 1, -1);
          distancesMs = atLeast(distancesMs, settled + 1);
          via = atLeast(via, settled + 1);
        }
        vertices[settled] = vertex;
        distancesMs[settled] = distance;
        via[settled] = vias[vertex]!;
        settled++;
        relax(vertex, distance);
      }
      search.vertices = vertices;
      search.distancesMs = distancesMs;
      search.via = via;
      search.settled = settled;
      search.frontierMs = frontierMs;
    },
  };
}
