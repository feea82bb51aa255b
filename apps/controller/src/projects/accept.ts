/** Projects: made, changed, deleted when nothing stays in them. No I/O. */
import type { ProjectManifest } from '@skerry/contract/schema';
import { type Project, SkerryError } from '@skerry/model';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { refuseDeleted } from '../manifests/guards.ts';
import type { Draft } from '../state/draft.ts';
import { type Collection, keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';

export const DEFAULT_PROJECT = 'default';
const CONTENTS = [
  'workloads',
  'instances',
  'volumes',
  'images',
  'devices',
  'streams',
] as const satisfies Collection[];

export function putProject(
  draft: Draft,
  world: World,
  manifest: ProjectManifest,
  conditions: Conditions = {},
): Accepted<Project> {
  const { name } = manifest.metadata;
  const stored = draft.get('projects', name);
  requireConditions(conditions, stored?.metadata.revision, `the project ${name}`);
  if (stored) refuseDeleted(stored, `the project ${name}`);
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const specChanged = !stored || !same(stored.spec, manifest.spec);
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  const metadata = stored
    ? { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations }
    : newMetadata({ name, labels, annotations }, world.now);
  const project: Project = {
    apiVersion: 'skerry/v1',
    kind: 'Project',
    metadata,
    spec: manifest.spec,
    status: { instances: 0 },
  };
  draft.put(keyOf('projects', name), project);
  const text = `${stored ? 'update' : 'create'} project ${name}`;
  return {
    outcome: stored ? 'changed' : 'created',
    resource: project,
    steps: [{ action: stored ? 'update' : 'create', kind: 'Project', name, text }],
  };
}

/** What is in a project and is not being deleted, as `kind name`. */
export function contentsOf(draft: Draft, view: View, project: string, all: boolean): string[] {
  const found: string[] = [];
  for (const collection of CONTENTS) {
    for (const { kind, metadata } of view.all(collection, project)) {
      const now = draft.get(collection, project, metadata.name);
      if (now && (all || now.metadata.deletedAt === undefined))
        found.push(`${kind.toLowerCase()} ${metadata.name}`);
    }
  }
  return found;
}

/** Errors: not_found, in_use, forbidden for the project that is always there. */
export function deleteProject(
  draft: Draft,
  world: World,
  view: View,
  name: string,
  conditions: Conditions = {},
): Accepted<Project> {
  const stored = draft.get('projects', name);
  if (!stored) throw new SkerryError('not_found', `there is no project "${name}"`);
  requireConditions(conditions, stored.metadata.revision, `the project ${name}`);
  if (name === DEFAULT_PROJECT) throw new SkerryError('forbidden', 'the project "default" is always there');
  const staying = contentsOf(draft, view, name, false);
  if (staying.length > 0) {
    const list =
      staying.slice(0, 5).join(', ') + (staying.length > 5 ? `, and ${staying.length - 5} more` : '');
    throw new SkerryError('in_use', `the project ${name} is not empty: ${list}`, {
      details: { by: staying },
    });
  }
  if (stored.metadata.deletedAt) return { outcome: 'unchanged', resource: stored, steps: [] };
  const project: Project = {
    ...stored,
    metadata: { ...touched(stored.metadata, world.now, { spec: true }), deletedAt: world.now },
  };
  if (contentsOf(draft, view, name, true).length === 0) draft.delete(keyOf('projects', name));
  else draft.put(keyOf('projects', name), project);
  return {
    outcome: 'deleted',
    resource: project,
    steps: [{ action: 'delete', kind: 'Project', name, text: `delete project ${name}` }],
  };
}
