/** The plan that all runtimes share: from what is there to what is wanted, in steps. Pure. */
import type { Id, Millis } from '@skerry/model';
import type { GuestSpec, GuestState, GuestStep } from './port.ts';

/**
 * `want` undefined: the guest is to be gone. A guest of another incarnation is replaced. An exited one is started anew from
 * `create`. Where both have the same root the disk stays: nothing is removed.
 */
export function planGuest(
  want: GuestSpec | undefined,
  have: GuestState,
  uid: Id<'instance'>,
  graceMs: Millis,
): GuestStep[] {
  const steps: GuestStep[] = [];
  if (have.state !== 'absent') {
    if (want && have.incarnation === want.incarnation) {
      if (have.state === 'running') return [];
      if (have.state === 'created') return [{ do: 'start', uid }];
    }
    if (have.state === 'running') steps.push({ do: 'stop', uid, graceMs });
    if (!keepsRoot(want, have)) steps.push({ do: 'remove', uid });
  }
  if (want) steps.push({ do: 'create', spec: want }, { do: 'start', uid });
  return steps;
}

/** Whether the guest that is wanted goes on with the disk of the one that is there. */
export const keepsRoot = (want: GuestSpec | undefined, have: GuestState): boolean =>
  want?.root !== undefined && have.state !== 'absent' && have.root === want.root;
