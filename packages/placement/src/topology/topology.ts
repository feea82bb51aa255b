/**
 * The access network: sites, access points and routers, links between them, and what was measured. It answers how far a
 * site is from an access point (milliseconds one way, over the shortest path of links that are up) and which sites come
 * in which order. Searches are kept for each access point, as deep as they were needed; the change of a link drops only
 * those that it hurts. It reads no clock: who measures says when.
 */
import { SkerryError } from '@skerry/model';
import { createNames, type Names } from '../names.ts';
import { type LinkChange, pathMayDiffer, searchIsHurt } from './change.ts';
import { createGraph } from './graph.ts';
import { createSearcher, positionOf, type Search } from './search.ts';
import { createSiteOrder, type Measured, type SiteOrder } from './site-order.ts';

export type VertexKind = 'site' | 'access-point' | 'router';

export interface LinkSpec {
  readonly between: readonly [string, string];
  /** One way. */
  readonly latencyMs: number;
  /** Default true. */
  readonly up?: boolean;
}

export interface Distance {
  /** What placement goes by; Infinity when it can not be reached. */
  readonly latencyMs: number;
  readonly modelledMs: number;
  readonly measuredMs?: number;
  readonly measuredAtMs?: number;
  /** False: the path may have changed since, and the model holds until it is measured again. */
  readonly believed?: boolean;
}

export interface Hop {
  readonly link: string;
  readonly from: string;
  readonly to: string;
  readonly latencyMs: number;
}

export interface Topology {
  /** Numbers of sites, shared with the fleet. */
  readonly sites: Names;
  readonly links: number;
  /** Rises with each change. */
  readonly version: number;
  /** Errors: already_exists (the name is one of another kind). */
  add(kind: VertexKind, name: string): void;
  has(name: string): boolean;
  kindOf(name: string): VertexKind | undefined;
  /** With its links. */
  remove(name: string): void;
  /** Makes or changes a link. Errors: not_found (an end), request_invalid (a latency below 0; both ends the same). */
  link(name: string, spec: LinkSpec): void;
  unlink(name: string): void;
  /** A measured round trip corrects the model for this pair. Errors: not_found. */
  measured(accessPoint: string, site: string, roundTripMs: number, atMs: number): void;
  /** Forgets what was measured before. Returns how many were forgotten. */
  forget(beforeMs: number): number;
  /** The sites as `accessPoint`, or a site, sees them; valid until the next change. Errors: not_found. */
  order(accessPoint: string): SiteOrder;
  /** From a site as well: of two nodes. Errors: not_found. */
  distance(accessPoint: string, site: string): Distance;
  /** The links of the modelled path; empty when there is none. Errors: not_found. */
  path(accessPoint: string, site: string): Hop[];
  /** Settled vertices in all searches that are kept, 16 bytes each. */
  readonly kept: number;
}

export interface TopologyOptions {
  readonly sites?: Names;
  /** Bound of `kept`; over it the searches used longest ago are dropped. Default 8 million: 128 MB. */
  readonly keepVertices?: number;
}

/** Vertices that a measurement looks through for its path: beyond, any change of a link makes it unbelieved. */
const MEASURE_DEPTH = 256;

export function createTopology(options: TopologyOptions = {}): Topology {
  const keepVertices = options.keepVertices ?? 8_000_000;
  const sites = options.sites ?? createNames();
  const graph = createGraph();
  const searcher = createSearcher(graph);
  const vertices = createNames();
  const kinds: (VertexKind | undefined)[] = [];
  const siteOfVertex: number[] = [];
  const linkNumbers = new Map<string, number>();
  const linkNames: string[] = [];
  /** By access point. In order of use: the last one used comes last. */
  const searches = new Map<number, { readonly search: Search; order?: SiteOrder }>();
  const measurements = new Map<number, Map<number, Measured>>();
  let kept = 0;
  let version = 0;

  const find = (name: string, kind?: VertexKind): number => {
    const vertex = vertices.find(name);
    if (vertex < 0 || !kinds[vertex] || (kind && kinds[vertex] !== kind))
      throw new SkerryError('not_found', `there is no ${kind ?? 'vertex'} "${name}" in the access network`);
    return vertex;
  };
  const drop = (source: number) => {
    kept -= searches.get(source)?.search.settled ?? 0;
    searches.delete(source);
  };
  const deepened = (source: number, by: number) => {
    kept += by;
    for (const oldest of searches.keys()) {
      if (kept <= keepVertices) break;
      if (oldest !== source) drop(oldest);
    }
  };
  const searchFrom = (source: number) => {
    let entry = searches.get(source);
    if (entry) searches.delete(source);
    else entry = { search: searcher.start(source) };
    searches.set(source, entry);
    return entry;
  };
  const deepen = (search: Search, count: number) => {
    const before = search.settled;
    searcher.deepen(search, count);
    deepened(search.source, search.settled - before);
  };
  const settle = (search: Search, vertex: number): number => {
    for (;;) {
      const at = positionOf(search, vertex);
      if (at >= 0 || search.frontierMs === Number.POSITIVE_INFINITY) return at;
      deepen(search, Math.max(MEASURE_DEPTH, 2 * search.settled));
    }
  };
  /** Before the graph is changed: what is no longer true afterwards is dropped. */
  const prepare = (change: LinkChange) => {
    if (change.beforeMs === change.afterMs) return;
    for (const [source, ofSource] of measurements) {
      const { search } = searchFrom(source);
      deepen(search, MEASURE_DEPTH);
      for (const [site, one] of ofSource) {
        if (!one.current) continue;
        if (pathMayDiffer(search, vertices.find(sites.name(site)), change, graph.to)) {
          one.current = false;
          delete searches.get(source)?.order;
        }
      }
    }
    for (const [source, { search }] of searches) if (searchIsHurt(search, change)) drop(source);
  };
  const change = (name: string, spec: LinkSpec | undefined) => {
    version++;
    const afterMs = spec && spec.up !== false ? spec.latencyMs : Number.POSITIVE_INFINITY;
    let link = linkNumbers.get(name);
    if (link !== undefined) {
      const [a, b] = graph.ends(link);
      const [from, to] = spec ? [find(spec.between[0]), find(spec.between[1])] : [a, b];
      const same = (a === from && b === to) || (a === to && b === from);
      prepare({
        link,
        a,
        b,
        beforeMs: graph.latency(link),
        afterMs: same && spec ? afterMs : Number.POSITIVE_INFINITY,
      });
      if (same && spec) {
        graph.setLatency(link, afterMs);
        return;
      }
      graph.removeLink(link);
      linkNumbers.delete(name);
    }
    if (!spec) return;
    const [a, b] = [find(spec.between[0]), find(spec.between[1])];
    prepare({ link: -1, a, b, beforeMs: Number.POSITIVE_INFINITY, afterMs });
    link = graph.addLink(a, b, afterMs);
    linkNumbers.set(name, link);
    linkNames[link] = name;
  };

  return {
    sites,
    get links() {
      return graph.links;
    },
    get version() {
      return version;
    },
    get kept() {
      return kept;
    },
    has: (name) => kinds[vertices.find(name)] !== undefined,
    kindOf: (name) => kinds[vertices.find(name)],
    add(kind, name) {
      const vertex = vertices.number(name);
      if (kinds[vertex] && kinds[vertex] !== kind)
        throw new SkerryError(
          'already_exists',
          `"${name}" is the name of a ${kinds[vertex]}: links name their ends, so a ${kind} needs another one`,
        );
      if (vertex === graph.vertices) graph.addVertex();
      kinds[vertex] = kind;
      siteOfVertex[vertex] = kind === 'site' ? sites.number(name) : -1;
      version++;
    },
    remove(name) {
      const vertex = find(name);
      const incident: string[] = [];
      for (let half = graph.first(vertex); half >= 0; half = graph.next(half))
        incident.push(linkNames[half >> 1]!);
      for (const link of new Set(incident)) change(link, undefined);
      drop(vertex);
      measurements.delete(vertex);
      if (kinds[vertex] === 'site')
        for (const [source, ofSource] of measurements)
          if (ofSource.delete(siteOfVertex[vertex]!)) delete searches.get(source)?.order;
      kinds[vertex] = undefined;
      siteOfVertex[vertex] = -1;
      version++;
    },
    link(name, spec) {
      const [a, b] = [find(spec.between[0]), find(spec.between[1])];
      if (a === b)
        throw new SkerryError('request_invalid', `the link "${name}" has "${spec.between[0]}" at both ends`);
      if (!(spec.latencyMs >= 0))
        throw new SkerryError(
          'request_invalid',
          `the link "${name}" has a latency of ${spec.latencyMs} ms: it must be 0 or more`,
        );
      change(name, spec);
    },
    unlink(name) {
      if (linkNumbers.has(name)) change(name, undefined);
    },
    measured(accessPoint, site, roundTripMs, atMs) {
      const source = find(accessPoint, 'access-point');
      const number = siteOfVertex[find(site, 'site')]!;
      if (!(roundTripMs >= 0))
        throw new SkerryError('request_invalid', `a round trip of ${roundTripMs} ms was not measured`);
      const ofSource = measurements.get(source) ?? new Map<number, Measured>();
      measurements.set(source, ofSource);
      ofSource.set(number, { latencyMs: roundTripMs / 2, atMs, current: true });
      delete searches.get(source)?.order;
      version++;
    },
    forget(beforeMs) {
      let forgotten = 0;
      for (const [source, ofSource] of measurements) {
        for (const [site, { atMs }] of ofSource) {
          if (atMs >= beforeMs) continue;
          ofSource.delete(site);
          forgotten++;
          delete searches.get(source)?.order;
        }
        if (ofSource.size === 0) measurements.delete(source);
      }
      if (forgotten > 0) version++;
      return forgotten;
    },
    order(accessPoint) {
      const source = find(accessPoint);
      const entry = searchFrom(source);
      entry.order ??= createSiteOrder({
        search: entry.search,
        searcher,
        siteOf: (vertex) => siteOfVertex[vertex]!,
        measured: measurements.get(source),
        deepened: (by) => {
          // A search that was dropped meanwhile counts no more.
          if (searches.get(source) === entry) deepened(source, by);
        },
      });
      return entry.order;
    },
    distance(accessPoint, site) {
      const source = find(accessPoint);
      const vertex = find(site, 'site');
      const { search } = searchFrom(source);
      const at = settle(search, vertex);
      const modelledMs = at < 0 ? Number.POSITIVE_INFINITY : search.distancesMs[at]!;
      const one = measurements.get(source)?.get(siteOfVertex[vertex]!);
      if (!one) return { latencyMs: modelledMs, modelledMs };
      return {
        latencyMs: one.current ? one.latencyMs : modelledMs,
        modelledMs,
        measuredMs: one.latencyMs,
        measuredAtMs: one.atMs,
        believed: one.current,
      };
    },
    path(accessPoint, site) {
      const { search } = searchFrom(find(accessPoint, 'access-point'));
      let at = settle(search, find(site, 'site'));
      const hops: Hop[] = [];
      while (at > 0) {
        const half = search.via[at]!;
        const from = graph.to(half ^ 1);
        hops.push({
          link: linkNames[half >> 1]!,
          from: vertices.name(from),
          to: vertices.name(graph.to(half)),
          latencyMs: graph.latency(half >> 1),
        });
        at = positionOf(search, from);
      }
      return hops.reverse();
    },
  };
}
