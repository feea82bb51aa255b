/** How many instances a workload is to have: a number, or so many at each site where they are wanted. Pure. */
import type { PerSite, Workload, WorkloadSpec } from './schema/workload.ts';
import { parseMillis } from './units.ts';

/** A phone that goes round a corner and comes back finds its instance still there. */
export const KEEP_UNWANTED_MS = 60_000;

/** Undefined: it has a number of replicas. */
export const perSiteOf = ({ replicas }: Pick<WorkloadSpec, 'replicas'>): PerSite | undefined =>
  typeof replicas === 'object' ? replicas : undefined;

/** At least so many it may have at a time, as far as the manifest says. */
export const replicasOf = ({ replicas = 1 }: Pick<WorkloadSpec, 'replicas'>): number =>
  typeof replicas === 'object' ? replicas.perSite : replicas;

/** How long instances are kept at a site that nobody wants them at any more, milliseconds. */
export const keepUnwantedMs = ({ keepFor }: PerSite): number =>
  keepFor === undefined ? KEEP_UNWANTED_MS : parseMillis(keepFor);

/** How many instances it is to have now, and how many of these are ready. */
export function countsOf({ spec, status }: Workload): { readonly wanted: number; readonly ready: number } {
  if (typeof spec.replicas !== 'object') return { wanted: spec.replicas ?? 1, ready: status.ready };
  let [wanted, ready] = [0, 0];
  for (const site of status.sites ?? []) {
    wanted += site.wanted;
    ready += Math.min(site.wanted, site.ready);
  }
  return { wanted, ready };
}
