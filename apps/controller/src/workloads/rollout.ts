/**
 * Which instances may be changed now, when a workload's spec changed: those that serve nobody at once, those that serve
 * one at a time, and only when all changed ones are well. A bad spec thus stops at its first instance. Pure.
 */
import {
  type FurtherDigests,
  furtherDigests,
  type Instance,
  sameFurther,
  type Workload,
  type WorkloadSpec,
} from '@skerry/model';
import { same } from '../state/resource.ts';

export interface Wanted extends FurtherDigests {
  readonly template: WorkloadSpec;
  readonly imageDigest: string;
  readonly restarts: number;
  readonly rebuilds: number;
}

/** The part of a workload's spec that belongs to a guest; a change of the rest replaces none. */
export function templateOf(spec: WorkloadSpec): WorkloadSpec {
  const { replicas, placement, move, singleInstance, ...template } = spec;
  return template;
}

export function wantedOf({ spec, control, status }: Workload): Wanted {
  const { imageDigest = '' } = status;
  const { restarts, rebuilds } = control;
  return { template: templateOf(spec), imageDigest, ...furtherDigests(status), restarts, rebuilds };
}

export const isCurrent = ({ spec }: Instance, wanted: Wanted): boolean =>
  spec.imageDigest === wanted.imageDigest &&
  sameFurther(spec, wanted) &&
  spec.restarts === wanted.restarts &&
  spec.rebuilds === wanted.rebuilds &&
  same(spec.template, wanted.template);

/** It has what it is to have and is as it is to be: running (and healthy), ended by itself, or stopped. */
export function isSettled({ spec, status, metadata }: Instance): boolean {
  if (status.observedGeneration < metadata.generation) return false;
  if (spec.run === 'stopped') return status.phase === 'stopped' || status.phase === 'failed';
  return status.phase === 'running' || status.phase === 'stopped';
}

export const serves = ({ status }: Instance): boolean => status.phase === 'running';

/** It has what it is to have, and serves. */
export const isReady = (one: Instance): boolean => isSettled(one) && serves(one);

export function nextToChange(instances: readonly Instance[], wanted: Wanted): Instance[] {
  const old = instances.filter((instance) => !isCurrent(instance, wanted));
  const idle = old.filter((instance) => !serves(instance));
  const busy = old.filter(serves).sort((a, b) => a.spec.ordinal - b.spec.ordinal);
  const allWell = instances.every((instance) => !isCurrent(instance, wanted) || isSettled(instance));
  // An idle one that is changed is not well yet, so the busy ones wait for it.
  return idle.length > 0 ? idle : allWell ? busy.slice(0, 1) : [];
}

/** What differs between two templates, in the names of their fields. */
export function differences(before: WorkloadSpec, after: WorkloadSpec): string[] {
  const fields = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<keyof WorkloadSpec>;
  return [...fields].filter((field) => !same(before[field], after[field]));
}
