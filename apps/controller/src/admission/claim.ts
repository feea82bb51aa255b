/** What an instance takes of its node, in numbers: the defaults where the manifest says nothing, and the runtime's own overhead. */
import {
  defaultMemoryBytes,
  GUEST_DEFAULTS,
  type Instance,
  parseBytes,
  type Volume,
  type WorkloadSpec,
} from '@skerry/model';
import type { Overheads } from '../state/view.ts';

export const MIB = 1024 * 1024;

export interface Claim {
  readonly project: string;
  readonly workload: string;
  readonly node: string | undefined;
  readonly slot: number | undefined;
  /** 1 for an instance, 0 for a volume. */
  readonly instances: number;
  readonly cpus: number;
  /** With the runtime's overhead. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** `tcp/8080` on the node. */
  readonly ports: readonly string[];
  /** Groups that are kept away from where it is: `default/web`. */
  readonly repels?: readonly { readonly group: string; readonly at: 'site' | 'node' }[];
  readonly priority?: number;
}

/** A guest without a limit could take its whole node: so there always is one, the same as on the node. */
export const cpusOf = (spec: WorkloadSpec): number => spec.resources?.cpus ?? GUEST_DEFAULTS.cpus;
export const memoryOf = (spec: WorkloadSpec): number =>
  spec.resources?.memory === undefined ? defaultMemoryBytes(spec.runtime) : parseBytes(spec.resources.memory);
export const diskOf = (spec: WorkloadSpec): number =>
  spec.resources?.disk === undefined ? 0 : parseBytes(spec.resources.disk);
export const publishedPorts = (spec: WorkloadSpec): string[] =>
  (spec.ports ?? [])
    .filter((port) => port.publish)
    .map((port) => `${port.protocol ?? 'tcp'}/${port.publish}`);

/**
 * Of an instance that has `template` now and is to have `wanted`: the larger of both, since the one is replaced by the
 * other in place and nothing else may take the room in between.
 */
export function claimOf(
  place: {
    readonly project: string;
    readonly workload: string;
    readonly node?: string;
    readonly slot?: number;
  },
  template: WorkloadSpec,
  wanted: WorkloadSpec,
  overheads: Overheads,
): Claim {
  const away = wanted.placement?.antiAffinity;
  return {
    project: place.project,
    workload: place.workload,
    node: place.node,
    slot: place.slot,
    instances: 1,
    cpus: Math.max(cpusOf(template), cpusOf(wanted)),
    memoryBytes: Math.max(memoryOf(template), memoryOf(wanted)) + (overheads[wanted.runtime] ?? 0),
    diskBytes: Math.max(diskOf(template), diskOf(wanted)),
    ports: [...new Set([...publishedPorts(template), ...publishedPorts(wanted)])],
    ...(away && {
      repels: away.map(({ workload, at = 'node' }) => ({ group: `${place.project}/${workload}`, at })),
    }),
    ...(wanted.priority !== undefined && { priority: wanted.priority }),
  };
}

/** Of an instance that is being ended already: to end it costs nothing more. */
const ENDING_PRIORITY = -1_000_000;

export function claimOfInstance(
  instance: Instance,
  wanted: WorkloadSpec | undefined,
  overheads: Overheads,
): Claim {
  const { spec, metadata } = instance;
  const claim = claimOf(
    {
      project: metadata.project!,
      workload: spec.workload,
      ...(spec.node !== undefined && { node: spec.node }),
      ...(spec.network && { slot: spec.network.slot }),
    },
    spec.template,
    metadata.deletedAt ? spec.template : (wanted ?? spec.template),
    overheads,
  );
  return metadata.deletedAt ? { ...claim, priority: ENDING_PRIORITY } : claim;
}

export function claimOfVolume({ metadata, spec, status }: Volume): Claim {
  return {
    project: metadata.project!,
    workload: '',
    node: status.node,
    slot: undefined,
    instances: 0,
    cpus: 0,
    memoryBytes: 0,
    diskBytes: parseBytes(spec.size),
    ports: [],
  };
}
