/**
 * What becomes of an instance whose node does not answer: it is waited for, for as long as its workload says, and then
 * another one takes its place elsewhere. What has its data on that node waits for it without end. Pure.
 *
 *   node lost --placement.replaceAfter since it was last there--> replaced (a new guest; the old one is forgotten)
 *        +--its agent comes back before--> goes on
 */
import { GUEST_DEFAULTS, type Instance, parseMillis, type WorkloadSpec } from '@skerry/model';
import type { World } from './converge.ts';

export type Fate =
  /** `lookInMs`: when to ask again; absent: not before something changes. */
  { readonly waits: string; readonly lookInMs?: number } | { readonly replace: string };

export const replaceAfterMs = ({ placement }: WorkloadSpec): number =>
  placement?.replaceAfter === undefined ? GUEST_DEFAULTS.replaceAfterMs : parseMillis(placement.replaceAfter);

/** Undefined: its node is there. */
export function fateOf(
  instance: Instance,
  spec: WorkloadSpec,
  world: Pick<World, 'awayMs'>,
): Fate | undefined {
  const { node } = instance.spec;
  const awayMs = node === undefined ? undefined : world.awayMs(node);
  if (awayMs === undefined) return undefined;
  const gone = awayMs === Number.POSITIVE_INFINITY;
  const silent = gone ? `there is no node ${node} any more` : `the node ${node} does not answer`;
  const [volume] = instance.spec.template.volumes ?? [];
  if (volume && !gone) return { waits: `${silent}, and its volume ${volume.name} is there: it waits for it` };
  const leftMs = replaceAfterMs(spec) - awayMs;
  if (leftMs > 0) return { waits: silent, lookInMs: leftMs };
  return { replace: silent };
}

/** It was to go, and the node that would have said so is none any more. */
export const isNowhere = ({ spec }: Instance, world: Pick<World, 'awayMs'>): boolean =>
  spec.node !== undefined && world.awayMs(spec.node) === Number.POSITIVE_INFINITY;
