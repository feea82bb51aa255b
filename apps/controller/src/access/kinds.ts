/**
 * What each kind of the access network needs, and who needs it. Sites and access points share their names: links say
 * which two they join by name alone. Reads the draft and the view; writes nothing.
 */
import {
  type AccessPointManifest,
  type ClientManifest,
  type LinkManifest,
  manifestInvalid,
  type SiteManifest,
} from '@skerry/contract/schema';
import type { AccessPoint, Client, Link, Site } from '@skerry/model';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import type { Kinds, View } from '../state/view.ts';

export type AccessManifest = SiteManifest | AccessPointManifest | LinkManifest | ClientManifest;
export type AccessKind = AccessManifest['kind'];
export type AccessResource = Site | AccessPoint | Link | Client;
export type AccessCollection = 'sites' | 'access-points' | 'links' | 'clients';

export const ACCESS = {
  Site: { collection: 'sites', word: 'site' },
  AccessPoint: { collection: 'access-points', word: 'access point' },
  Link: { collection: 'links', word: 'link' },
  Client: { collection: 'clients', word: 'client' },
} as const satisfies Record<AccessKind, { collection: AccessCollection; word: string }>;

/** Something of the draft; it stays until the commit, or the commit fails. Errors: manifest_invalid with the field. */
function requireOne(draft: Draft, field: string, name: string, among: readonly AccessKind[]): void {
  for (const kind of among) {
    const { collection } = ACCESS[kind];
    if (!draft.get(collection, name)) continue;
    draft.need(keyOf(collection, name));
    return;
  }
  const words = among.map((kind) => ACCESS[kind].word).join(' or ');
  throw manifestInvalid([{ field, message: `there is no ${words} "${name}"` }]);
}

/** Errors: manifest_invalid. */
export function requireSite(draft: Draft, name: string | undefined): void {
  if (name !== undefined) requireOne(draft, 'spec.site', name, ['Site']);
}

const ENDS = ['Site', 'AccessPoint'] as const;

/** What the manifest names must be there, or come with it. Errors: manifest_invalid with the field. */
export function requireNamed(draft: Draft, manifest: AccessManifest): void {
  const { kind, metadata, spec } = manifest;
  if (kind === 'Site' || kind === 'AccessPoint') {
    const other = kind === 'Site' ? 'AccessPoint' : 'Site';
    if (draft.get(ACCESS[other].collection, metadata.name)) {
      const message = `"${metadata.name}" is the name of an existing ${ACCESS[other].word}: links name their ends, so each name stands for one`;
      throw manifestInvalid([{ field: 'metadata.name', message }]);
    }
  }
  if (kind === 'AccessPoint') requireSite(draft, spec.site);
  if (kind === 'Link')
    for (const [at, end] of spec.between.entries()) requireOne(draft, `spec.between[${at}]`, end, ENDS);
  if (kind === 'Client' && spec.attachedTo !== undefined)
    requireOne(draft, 'spec.attachedTo', spec.attachedTo, ['AccessPoint']);
}

/** Members of a collection as they are in the draft. */
export function* drafted<K extends 'nodes' | 'devices' | 'streams' | AccessCollection>(
  draft: Draft,
  view: View,
  collection: K,
): Generator<Kinds[K]> {
  const prefix = keyOf(collection);
  const seen = new Set<string>();
  for (const [key, object] of draft.puts) {
    if (!key.startsWith(prefix)) continue;
    seen.add(key);
    if (object) yield object as Kinds[K];
  }
  for (const object of view.all(collection)) {
    const { name, project } = (object as AccessResource).metadata;
    const key = project === undefined ? keyOf(collection, name) : keyOf(collection, project, name);
    if (!seen.has(key)) yield object;
  }
}

/** Who would miss it, as `link backhaul`. */
export function usersOf(draft: Draft, view: View, kind: AccessKind, name: string): string[] {
  if (kind === 'Link' || kind === 'Client') return [];
  const users: string[] = [];
  for (const { spec, metadata } of drafted(draft, view, 'links'))
    if (spec.between.includes(name)) users.push(`link ${metadata.name}`);
  if (kind === 'AccessPoint') {
    for (const { spec, metadata } of drafted(draft, view, 'clients'))
      if (spec.attachedTo === name) users.push(`client ${metadata.name}`);
    for (const { spec, metadata } of drafted(draft, view, 'devices'))
      if (spec.attachedTo === name) users.push(`device ${metadata.project}/${metadata.name}`);
    return users;
  }
  for (const { spec, metadata } of drafted(draft, view, 'access-points'))
    if (spec.site === name) users.push(`access point ${metadata.name}`);
  for (const { spec, metadata } of drafted(draft, view, 'nodes'))
    if (spec.site === name) users.push(`node ${metadata.name}`);
  return users;
}
