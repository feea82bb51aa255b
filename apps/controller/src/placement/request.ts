/** From the manifest of a workload to what placement is asked: names of the draft, numbers in one unit. Reads, writes nothing. */
import { manifestInvalid } from '@skerry/contract/schema';
import { parseMillis, type WorkloadSpec } from '@skerry/model';
import type { Near, PlaceRequest } from '@skerry/placement';
import { drafted } from '../access/kinds.ts';
import { cpusOf, diskOf, memoryOf, publishedPorts } from '../admission/claim.ts';
import { placesOfDevices } from '../devices/place.ts';
import type { Draft } from '../state/draft.ts';
import type { View } from '../state/view.ts';

type PlacementSpec = NonNullable<WorkloadSpec['placement']>;

export interface Asked {
  readonly project: string;
  readonly workload: string;
  /** Of the instance. */
  readonly name: string;
  readonly spec: WorkloadSpec;
  /** The only node that will do: where its volumes are. */
  readonly onNode?: string;
  /** The only site that will do, however far it is from whom: its instance there is for that site's clients. */
  readonly site?: string;
}

/** Terms of affinity as placement counts them: by workload of the same project. */
export const groupTerms = (
  project: string,
  terms: PlacementSpec['affinity'],
): { group: string; at: 'site' | 'node' }[] =>
  (terms ?? []).map(({ workload, at = 'node' }) => ({ group: `${project}/${workload}`, at }));

export const fits = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>) =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/**
 * The access points, and sites of devices, that it is to be near, each with the number of clients and devices that speak for it; one that is named counts
 * once. Errors: manifest_invalid for an access point that does not exist.
 */
export function nearOf(
  draft: Draft,
  view: View,
  project: string,
  placement: PlacementSpec | undefined,
): Near[] {
  const weights = new Map<string, number>();
  const add = (accessPoint: string) => weights.set(accessPoint, (weights.get(accessPoint) ?? 0) + 1);
  for (const [at, name] of (placement?.near?.accessPoints ?? []).entries()) {
    if (!draft.get('access-points', name)) {
      const field = `spec.placement.near.accessPoints[${at}]`;
      throw manifestInvalid([{ field, message: `there is no access point "${name}"` }]);
    }
    add(name);
  }
  const clients = placement?.near?.clients;
  if (clients)
    for (const { metadata, spec } of drafted(draft, view, 'clients'))
      if (spec.attachedTo !== undefined && fits(metadata.labels, clients)) add(spec.attachedTo);
  const devices = placement?.near?.devices;
  if (devices) for (const place of placesOfDevices(draft, view, project, devices)) add(place);
  return [...weights].map(([accessPoint, weight]) => ({ accessPoint, weight }));
}

/** Errors: manifest_invalid. */
export function requestOf(draft: Draft, view: View, asked: Asked): PlaceRequest {
  const { project, workload, name, spec, onNode, site } = asked;
  const { placement, priority } = spec;
  const selector = {
    ...placement?.nodeSelector,
    ...(onNode !== undefined && { node: onNode }),
    ...(site !== undefined && { site }),
  };
  const maxLatency = site === undefined ? placement?.maxLatency : undefined;
  return {
    key: `${project}/${name}`,
    workload: `${project}/${workload}`,
    runtime: spec.runtime,
    cpus: cpusOf(spec),
    memoryBytes: memoryOf(spec),
    diskBytes: diskOf(spec),
    ports: publishedPorts(spec),
    near: site === undefined ? nearOf(draft, view, project, placement) : [],
    nodeSelector: selector,
    affinity: groupTerms(project, placement?.affinity),
    antiAffinity: groupTerms(project, placement?.antiAffinity),
    tolerations: (placement?.tolerations ?? []).map(({ key, value }) => ({
      key,
      ...(value !== undefined && { value }),
    })),
    ...(spec.vm?.networks && { networks: spec.vm.networks.map((one) => one.name) }),
    ...(placement?.accelerated && { accelerated: true }),
    ...(placement?.spread && { spread: placement.spread }),
    ...(maxLatency !== undefined && { maxLatencyMs: parseMillis(maxLatency) }),
    ...(priority !== undefined && { priority, preempt: priority > 0 }),
  };
}
