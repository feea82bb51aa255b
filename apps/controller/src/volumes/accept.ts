/** Volumes: accepted, enlarged, marked to go. A volume belongs to one node and is made there by its agent. No I/O. */
import type { VolumeManifest } from '@skerry/contract/schema';
import { manifestInvalid } from '@skerry/contract/schema';
import { parseBytes, SkerryError, type Volume, type Workload } from '@skerry/model';
import { shortage } from '../admission/capacity.ts';
import { claimOfVolume } from '../admission/claim.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { refuseDeleted, requireProject } from '../manifests/guards.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';

/** The workloads that mount a volume, those of the draft included. */
export function usersOf(draft: Draft | undefined, view: View, project: string, name: string): Workload[] {
  const users = [...view.all('workloads', project)].map(
    (workload) => draft?.get('workloads', project, workload.metadata.name) ?? (draft ? undefined : workload),
  );
  return users.filter(
    (workload): workload is Workload =>
      workload?.spec.volumes?.some((volume) => volume.name === name) === true,
  );
}

export function putVolume(
  draft: Draft,
  world: World,
  project: string,
  manifest: VolumeManifest,
  conditions: Conditions = {},
): Accepted<Volume> {
  const { name } = manifest.metadata;
  requireProject(draft, project);
  const key = keyOf('volumes', project, name);
  const stored = draft.get('volumes', project, name);
  requireConditions(conditions, stored?.metadata.revision, `the volume ${name}`);
  if (stored) refuseDeleted(stored, `the volume ${name}`);
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  if (stored && parseBytes(manifest.spec.size) < parseBytes(stored.spec.size)) {
    const message = `the volume has ${stored.spec.size}; it can be enlarged only, what is in it would be lost`;
    throw manifestInvalid([{ field: 'spec.size', message }]);
  }
  const specChanged = !stored || !same(stored.spec, manifest.spec);
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  const volume: Volume = settleVolume(
    stored
      ? {
          ...stored,
          spec: manifest.spec,
          metadata: { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations },
        }
      : {
          apiVersion: 'skerry/v1',
          kind: 'Volume',
          metadata: newMetadata({ name, project, labels, annotations }, world.now),
          spec: manifest.spec,
          status: { phase: 'pending', usedBy: [] },
        },
    world,
  );
  const claim = claimOfVolume(volume);
  const candidate = volume.status.node === undefined ? undefined : world.candidate(volume.status.node);
  const short =
    candidate &&
    shortage(candidate.node, world.ledger.node(candidate.node.metadata.name), claim, world.ledger.get(key));
  if (short) {
    const { text, ...numbers } = short;
    throw new SkerryError('quota_exceeded', `the volume ${name} ${text}`, {
      details: { ...numbers, node: volume.status.node },
    });
  }
  world.reserve(key, claim);
  draft.put(key, volume);
  const step = {
    action: stored ? 'update' : 'create',
    kind: 'Volume',
    name,
    text: `${stored ? 'enlarge' : 'create'} volume ${name}`,
  } as const;
  return { outcome: stored ? 'changed' : 'created', resource: volume, steps: [step] };
}

/** Gives a volume its node where there is but one. Among several, it goes where its first instance does. */
export function settleVolume(volume: Volume, world: World): Volume {
  if (volume.status.node !== undefined) return volume;
  const only = world.onlyNode();
  if (only === undefined)
    return { ...volume, status: { ...volume.status, reason: 'it is made where its first instance goes' } };
  const { reason, ...status } = volume.status;
  return { ...volume, status: { ...status, node: only } };
}

/** Marks a volume to go. Errors: not_found, in_use where a workload that stays mounts it. */
export function deleteVolume(
  draft: Draft,
  world: World,
  view: View,
  project: string,
  name: string,
  conditions: Conditions = {},
): Accepted<Volume> {
  const key = keyOf('volumes', project, name);
  const stored = draft.get('volumes', project, name);
  if (!stored) throw new SkerryError('not_found', `there is no volume "${name}" in the project ${project}`);
  requireConditions(conditions, stored.metadata.revision, `the volume ${name}`);
  const users = usersOf(draft, view, project, name);
  const staying = users
    .filter((workload) => workload.metadata.deletedAt === undefined)
    .map((one) => one.metadata.name);
  if (staying.length > 0) {
    throw new SkerryError('in_use', `the volume ${name} is mounted by ${staying.join(', ')}`, {
      details: { by: staying },
    });
  }
  if (stored.metadata.deletedAt) return { outcome: 'unchanged', resource: stored, steps: [] };
  const volume: Volume = {
    ...stored,
    metadata: { ...touched(stored.metadata, world.now, { spec: true }), deletedAt: world.now },
  };
  if (volume.status.node === undefined && users.length === 0) draft.delete(key);
  else draft.put(key, volume);
  return {
    outcome: 'deleted',
    resource: volume,
    steps: [{ action: 'delete', kind: 'Volume', name, text: `delete volume ${name}` }],
  };
}
