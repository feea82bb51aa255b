/**
 * What becomes of an instance whose node does not answer: it is waited for, for as long as its workload says, and then
 * another one takes its place elsewhere. What has its data on that node waits for it without end. Pure.
 *
 *   node lost --placement.replaceAfter since it was last there--> replaced (a new guest; the old one is forgotten)
 *        +--its agent comes back before--> goes on
 */

import { GUEST_DEFAULTS, type Instance, parseMillis, type WorkloadSpec } from '@skerry/model';
import { leaseMsWithin } from '@skerry/reconcile';
import type { World } from './converge.ts';

export type Fate =
  /** `lookInMs`: when to ask again; absent: not before something changes. */
  { readonly waits: string; readonly lookInMs?: number } | { readonly replace: string };

export const replaceAfterMs = ({ placement }: WorkloadSpec): number =>
  placement?.replaceAfter === undefined ? GUEST_DEFAULTS.replaceAfterMs : parseMillis(placement.replaceAfter);

/** What a copy that may run on one node only is bound to: it is surely over when its node has been lost for long enough. */
export const leaseOf = (spec: WorkloadSpec, epoch: number, world: Pick<World, 'leases'>) => ({
  epoch,
  forMs: leaseMsWithin(Math.max(replaceAfterMs(spec), world.leases.graceMs)),
});

const leaseLeftMs = ({ metadata, spec }: Instance, world: Pick<World, 'leases'>): number =>
  spec.lease ? world.leases.leftMs({ uid: metadata.uid, forMs: spec.lease.forMs }) : 0;

/** Undefined: its node is there. */
export function fateOf(
  instance: Instance,
  spec: WorkloadSpec,
  world: Pick<World, 'awayMs' | 'leases'>,
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
  const leaseMs = leaseLeftMs(instance, world);
  if (leaseMs > 0)
    return { waits: `${silent}, and its copy there may run until its lease ends`, lookInMs: leaseMs };
  // without a lease it may run for ever, wherever it is
  if (spec.singleInstance && !instance.spec.lease && !gone)
    return { waits: `${silent}, and its copy there may run: it was started before singleInstance was set` };
  return { replace: silent };
}

/** How long an instance that is to go may still run where there is no node any more that would say that it is gone; undefined: its node is there. */
export function nowhereForMs(
  instance: Instance,
  world: Pick<World, 'awayMs' | 'leases'>,
): number | undefined {
  const { node } = instance.spec;
  if (node === undefined || world.awayMs(node) !== Number.POSITIVE_INFINITY) return undefined;
  return leaseLeftMs(instance, world);
}
