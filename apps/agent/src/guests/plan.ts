/**
 * The steps from nothing to a running guest on this node, and back. Pure; what a runtime does inside its step it plans
 * itself, from the resolved spec.
 */
import type { DesiredInstance } from '@skerry/contract';
import { imagesNeeded } from '@skerry/model';
import type { AttachRequest } from '@skerry/network';
import { attachRequestOf } from './resolve.ts';

export type NodeStep =
  | { readonly do: 'image'; readonly digest: string }
  | { readonly do: 'volume'; readonly name: string }
  | { readonly do: 'attach'; readonly request: AttachRequest }
  | { readonly do: 'guest'; readonly want: DesiredInstance }
  | { readonly do: 'guest-gone' }
  | { readonly do: 'detach' };

export function planStart(desired: DesiredInstance): NodeStep[] {
  const steps: NodeStep[] = [];
  // looked at first: it costs nothing to take back
  if (desired.spec.template.runtime !== 'sim') {
    // the last one is what it is made from, and what is told of it
    for (const digest of imagesNeeded(desired.spec)) steps.push({ do: 'image', digest });
  }
  for (const { name } of desired.spec.template.volumes ?? []) steps.push({ do: 'volume', name });
  const request = attachRequestOf(desired);
  if (request) steps.push({ do: 'attach', request });
  steps.push({ do: 'guest', want: desired });
  return steps;
}

/** Another runtime takes over: nothing of the old guest stays, nor its kind of interface. */
export const CLEAR: readonly NodeStep[] = [{ do: 'guest-gone' }, { do: 'detach' }];
