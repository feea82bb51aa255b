/** Who stands and who attaches where, counted once for each revision of the store: lists of many access points ask for each. */
import type { View } from '../state/view.ts';

export interface Attachments {
  /** Names, sorted. */
  nodesAt(site: string): string[];
  accessPointsAt(site: string): number;
  clientsAt(accessPoint: string): number;
}

interface Counted {
  readonly revision: number;
  readonly nodes: Map<string, string[]>;
  readonly accessPoints: Map<string, number>;
  readonly clients: Map<string, number>;
}

function tally(names: Iterable<string | undefined>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function count(view: View): Counted {
  const nodes = new Map<string, string[]>();
  for (const { metadata, spec } of view.all('nodes'))
    if (spec.site !== undefined) nodes.set(spec.site, [...(nodes.get(spec.site) ?? []), metadata.name]);
  for (const names of nodes.values()) names.sort();
  return {
    revision: view.revision,
    nodes,
    accessPoints: tally([...view.all('access-points')].map(({ spec }) => spec.site)),
    clients: tally([...view.all('clients')].map(({ spec }) => spec.attachedTo)),
  };
}

export function createAttachments(view: View): Attachments {
  let counted: Counted | undefined;
  const now = () => {
    if (counted?.revision !== view.revision) counted = count(view);
    return counted!;
  };
  return {
    nodesAt: (site) => now().nodes.get(site) ?? [],
    accessPointsAt: (site) => now().accessPoints.get(site) ?? 0,
    clientsAt: (accessPoint) => now().clients.get(accessPoint) ?? 0,
  };
}
