/**
 * Which leases a node gets: of the copies that the store has for it, and of no other. A stored epoch means that all lower ones
 * are surely over, for it was stored only then.
 */
import type { LeaseGrant, LeaseRequest } from '@skerry/contract';
import type { Core } from '../core.ts';
import type { View } from '../state/view.ts';

export function grantLeases(
  core: Pick<Core, 'view' | 'leases'>,
  node: string,
  request: LeaseRequest,
): LeaseGrant[] {
  const { holder } = request;
  return request.leases.flatMap(({ uid, epoch, holds }) => {
    const spec = core.view.instanceByUid(uid)?.spec;
    if (spec?.node !== node || spec.lease?.epoch !== epoch) return [];
    const { forMs } = spec.lease;
    return core.leases.grant({ uid, forMs }, { holder, holds }) ? [{ uid, forMs }] : [];
  });
}

/** What is no more needs no lease: its copy is surely gone, or was replaced after its time. */
export function forgetLeases({ view, leases }: Pick<Core, 'view' | 'leases'> & { view: View }): void {
  view.onChange(({ collection, before, after }) => {
    if (collection !== 'instances' || !before) return;
    const [old, next] = [before, after] as { metadata: { uid: string } }[];
    if (old!.metadata.uid !== next?.metadata.uid) leases.forget(old!.metadata.uid);
  });
}
