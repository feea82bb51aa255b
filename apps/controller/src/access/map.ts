/**
 * The access network as placement reads it, kept true to what is stored. Changes that come together are put in the order
 * in which a graph can take them: what goes, then places, then links. It reads the view and writes nothing.
 */
import { type AccessPoint, type Link, parseMillis, type Site } from '@skerry/model';
import { createTopology, type Topology } from '@skerry/placement';
import type { Change, View } from '../state/view.ts';

/** Of the way of no length between an access point and the site that it stands at; no resource can have such a name. */
const standsAt = (accessPoint: string) => `${accessPoint}@`;
const pairOf = (a: string, b: string) => [a, b].sort().join(' ');

export function createAccessMap(view: View): Topology {
  const topology = createTopology();
  const places = new Map<string, Site | AccessPoint | undefined>();
  const links = new Map<string, Link | undefined>();
  /** Explicit links between two places, counted: one between an access point and its site says how far they are. */
  const joined = new Map<string, number>();
  const drawn = new Map<string, Link>();

  view.onChange((change: Change) => {
    if (change.collection === 'sites' || change.collection === 'access-points') {
      const resource = (change.after ?? change.before) as Site | AccessPoint;
      places.set(resource.metadata.name, change.after as Site | AccessPoint | undefined);
    } else if (change.collection === 'links') {
      const { metadata } = (change.after ?? change.before) as Link;
      links.set(metadata.name, change.after as Link | undefined);
    }
  });

  const count = ({ spec }: Link, by: 1 | -1) => {
    const pair = pairOf(spec.between[0]!, spec.between[1]!);
    joined.set(pair, (joined.get(pair) ?? 0) + by);
    for (const end of spec.between) {
      const point = view.get('access-points', end);
      if (point && !places.has(end)) places.set(end, point);
    }
  };
  const undraw = (name: string) => {
    const before = drawn.get(name);
    if (!before) return;
    topology.unlink(name);
    drawn.delete(name);
    count(before, -1);
  };

  view.onBatch(() => {
    if (places.size === 0 && links.size === 0) return;
    for (const name of links.keys()) undraw(name);
    for (const [name, place] of places) {
      const kind = topology.kindOf(name);
      if (kind && (!place || kind !== vertexOf(place))) topology.remove(name);
    }
    for (const [name, place] of places) if (place && !topology.has(name)) topology.add(vertexOf(place), name);
    for (const [name, link] of links) {
      if (!link) continue;
      topology.link(name, {
        between: [link.spec.between[0]!, link.spec.between[1]!],
        latencyMs: parseMillis(link.spec.latency),
        up: link.spec.down !== true,
      });
      drawn.set(name, link);
      count(link, 1);
    }
    for (const [name, place] of places) {
      if (place?.kind !== 'AccessPoint') continue;
      const { site } = place.spec;
      topology.unlink(standsAt(name));
      if (site === undefined || (joined.get(pairOf(name, site)) ?? 0) > 0) continue;
      topology.link(standsAt(name), { between: [name, site], latencyMs: 0 });
    }
    places.clear();
    links.clear();
  });
  return topology;
}

const vertexOf = (place: Site | AccessPoint) => (place.kind === 'Site' ? 'site' : 'access-point');
