/** The access network: made, changed, deleted when nothing needs it; a client that changes its access point is a handover. No I/O. */
import { type Client, canonicalAddress, SkerryError } from '@skerry/model';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { formerOf } from '../services/moved.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';
import { addressesOf } from './client-addresses.ts';
import {
  ACCESS,
  type AccessKind,
  type AccessManifest,
  type AccessResource,
  requireNamed,
  usersOf,
} from './kinds.ts';

/** `seenBy`: the node that saw a client there. Errors: manifest_invalid for a name that stands for nothing, precondition_failed. */
export function putAccess(
  draft: Draft,
  world: World,
  view: View,
  manifest: AccessManifest,
  conditions: Conditions = {},
  seenBy?: string,
): Accepted<AccessResource> {
  const { kind, spec } = manifest;
  const { name } = manifest.metadata;
  const { collection, word } = ACCESS[kind];
  const stored = draft.get(collection, name) as AccessResource | undefined;
  requireConditions(conditions, stored?.metadata.revision, `the ${word} ${name}`);
  requireNamed(draft, manifest);
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const specChanged = !stored || !same(stored.spec, spec);
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  if (kind === 'Client') refuseTwinAddress(view, manifest.metadata.name, manifest.spec);
  const metadata = stored
    ? { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations }
    : newMetadata({ name, labels, annotations }, world.now);
  const made = { apiVersion: 'skerry/v1', kind, metadata, spec, status: statusOf(stored, manifest, world) };
  const resource = made as AccessResource;
  draft.put(keyOf(collection, name), resource);
  const outcome = stored ? 'changed' : 'created';
  const about = { kind, name, uid: metadata.uid };
  const moved =
    kind === 'Client' && stored ? handover(stored as Client, manifest.spec.attachedTo) : undefined;
  const seen = seenBy === undefined ? '' : `, seen by node ${seenBy}`;
  if (moved)
    draft.event({ type: 'normal', reason: 'Handover', message: `client ${name} ${moved}${seen}`, about });
  else {
    const reason = stored ? 'Changed' : 'Created';
    draft.event({ type: 'normal', reason, message: `${word} ${name} was ${outcome}`, about });
  }
  const action = stored ? 'update' : 'create';
  const text = moved ? `client ${name} ${moved}` : `${action} ${word} ${name}`;
  return { outcome, resource, steps: [{ action, kind, name, text }] };
}

function handover({ spec }: Client, to: string | undefined): string | undefined {
  if (spec.attachedTo === to) return undefined;
  if (to === undefined) return `left ${spec.attachedTo}`;
  return spec.attachedTo === undefined ? `came to ${to}` : `moved from ${spec.attachedTo} to ${to}`;
}

function statusOf(stored: AccessResource | undefined, manifest: AccessManifest, world: World): object {
  switch (manifest.kind) {
    case 'Site':
      return { nodes: [], accessPoints: 0 };
    case 'AccessPoint':
      return { clients: 0 };
    case 'Link':
      return { up: manifest.spec.down !== true };
    case 'Client': {
      const { attachedTo } = manifest.spec;
      const before = stored as Client | undefined;
      const handovers = before?.status.handovers ?? 0;
      const former = formerOf(before?.status.former, before?.spec.attachedTo, attachedTo);
      const trail = former.length > 0 && { former };
      if (attachedTo === undefined) return { handovers, ...trail };
      if (before?.spec.attachedTo === attachedTo) return before.status;
      const next = before?.spec.attachedTo ? handovers + 1 : handovers;
      return { attachedAt: world.now, handovers: next, ...trail };
    }
  }
}

/** Packets of one address can't be told apart by their client. Errors: already_exists. */
function refuseTwinAddress(view: View, name: string, spec: Client['spec']): void {
  const own = addressesOf({ spec });
  if (own.length === 0) return;
  for (const other of view.all('clients')) {
    if (other.metadata.name === name) continue;
    const twin = addressesOf(other).find((address) => own.includes(address));
    if (twin === undefined) continue;
    const field = canonicalAddress(spec.address ?? '') === twin ? 'spec.address' : 'spec.address6';
    throw new SkerryError('already_exists', `${twin} is the address of the client ${other.metadata.name}`, {
      details: { field, by: other.metadata.name },
    });
  }
}

/** Errors: not_found, in_use with who needs it, precondition_failed. */
export function deleteAccess(
  draft: Draft,
  world: World,
  view: View,
  kind: AccessKind,
  name: string,
  conditions: Conditions = {},
): Accepted<AccessResource> {
  const { collection, word } = ACCESS[kind];
  const stored = draft.get(collection, name) as AccessResource | undefined;
  if (!stored) throw new SkerryError('not_found', `there is no ${word} "${name}"`);
  requireConditions(conditions, stored.metadata.revision, `the ${word} ${name}`);
  const users = usersOf(draft, view, kind, name);
  if (users.length > 0) {
    const more = users.length > 5 ? `, and ${users.length - 5} more` : '';
    throw new SkerryError('in_use', `the ${word} ${name} is used by ${users.slice(0, 5).join(', ')}${more}`, {
      details: { by: users },
    });
  }
  draft.delete(keyOf(collection, name));
  const about = { kind, name, uid: stored.metadata.uid };
  draft.event({ type: 'normal', reason: 'Deleted', message: `${word} ${name} was deleted`, about });
  const resource = { ...stored, metadata: touched(stored.metadata, world.now, { spec: true }) };
  const step = { action: 'delete', kind, name, text: `delete ${word} ${name}` } as const;
  return { outcome: 'deleted', resource, steps: [step] };
}
