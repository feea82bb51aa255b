/** Where devices are, for placement: at the access point that they come through, else at the site of the node that has them. Pure. */
import type { Device } from '@skerry/model';
import { drafted } from '../access/kinds.ts';
import type { Draft } from '../state/draft.ts';
import { same } from '../state/resource.ts';
import type { View } from '../state/view.ts';

const carries = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>) =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** One place for each device of the project with these labels; of those that nobody knows the place of, none. */
export function* placesOfDevices(
  draft: Draft,
  view: View,
  project: string,
  labels: Readonly<Record<string, string>>,
): Generator<string> {
  for (const { metadata, spec, status } of drafted(draft, view, 'devices')) {
    if (metadata.project !== project || !carries(metadata.labels, labels)) continue;
    const place = spec.attachedTo ?? view.get('nodes', status.node ?? '')?.spec.site;
    if (place !== undefined) yield place;
  }
}

/** A change that placement has to look at: another place, other labels, a device that came or went. */
export const hasMoved = (before: Device | undefined, after: Device | undefined): boolean =>
  before?.spec.attachedTo !== after?.spec.attachedTo ||
  before?.status.node !== after?.status.node ||
  !same(before?.metadata.labels, after?.metadata.labels);
