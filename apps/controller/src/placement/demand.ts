/** At which sites a workload with `replicas.perSite` is wanted, by what is stored and where there is room. Reads, writes nothing. */
import { type PerSite, parseMillis } from '@skerry/model';
import { type Demand, sitesByDemand } from '@skerry/placement';
import { drafted } from '../access/kinds.ts';
import { placesOfDevices } from '../devices/place.ts';
import type { Draft } from '../state/draft.ts';
import type { View } from '../state/view.ts';
import type { Placement } from './place.ts';
import { type Asked, fits, requestOf } from './request.ts';

/** Access points with clients, and places of devices, that the workload is near to; with no `near`, with any clients. */
function accessPointsOf(draft: Draft, view: View, { project, spec: { placement } }: Asked): Set<string> {
  const found = new Set<string>();
  const near = placement?.near;
  for (const { metadata, spec } of drafted(draft, view, 'clients')) {
    const { attachedTo } = spec;
    if (attachedTo === undefined || found.has(attachedTo)) continue;
    const isMeant =
      near === undefined ||
      near.accessPoints?.includes(attachedTo) ||
      (near.clients !== undefined && fits(metadata.labels, near.clients));
    if (isMeant) found.add(attachedTo);
  }
  if (near?.devices)
    for (const place of placesOfDevices(draft, view, project, near.devices)) found.add(place);
  return found;
}

/** `holds`: sites where it is already, at a node that is there: they take it, full as they are. */
export function demandOf(
  { topology, live, placer }: Pick<Placement, 'topology' | 'live' | 'placer'>,
  view: View,
  draft: Draft,
  asked: Asked,
  { where = 'clients', sites: labels }: PerSite,
  holds: ReadonlySet<string>,
): Demand {
  const takes = (site: string): boolean => {
    if (labels && !fits(draft.get('sites', site)?.metadata.labels ?? {}, labels)) return false;
    if (holds.has(site)) return true;
    const selected = asked.spec.placement?.nodeSelector?.site;
    if (selected !== undefined && selected !== site) return false;
    return placer.place(requestOf(draft, view, { ...asked, site })).outcome === 'placed';
  };
  if (where === 'nodes') {
    const sites = new Set<string>();
    for (const { spec } of view.all('nodes')) if (spec.site !== undefined) sites.add(spec.site);
    return { sites: [...sites].filter(takes).sort(), unserved: [] };
  }
  const bound = asked.spec.placement?.maxLatency;
  return sitesByDemand(
    { topology, fleet: live.fleet },
    {
      accessPoints: accessPointsOf(draft, view, asked),
      ...(bound !== undefined && { maxLatencyMs: parseMillis(bound) }),
      takes,
    },
  );
}
