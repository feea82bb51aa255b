/** Devices: made, changed, deleted. What a device proves itself with is made elsewhere (credentials.ts). No I/O. */
import { type DeviceManifest, manifestInvalid } from '@skerry/contract/schema';
import { type Device, SkerryError } from '@skerry/model';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { requireProject } from '../manifests/guards.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';

const BESIDE = ['device-secrets', 'device-desired', 'device-reported'] as const;

export const missingDevice = (project: string, name: string) =>
  new SkerryError('not_found', `there is no device "${name}" in the project ${project}`);

/** Errors: not_found for the project, manifest_invalid for an access point that is none, precondition_failed. */
export function putDevice(
  draft: Draft,
  world: World,
  project: string,
  manifest: DeviceManifest,
  conditions: Conditions = {},
): Accepted<Device> {
  const { spec } = manifest;
  const { name } = manifest.metadata;
  const stored = draft.get('devices', project, name);
  requireConditions(conditions, stored?.metadata.revision, `the device ${name}`);
  requireProject(draft, project);
  const { attachedTo } = spec;
  if (attachedTo !== undefined) {
    if (!draft.get('access-points', attachedTo)) {
      const message = `there is no access point "${attachedTo}"`;
      throw manifestInvalid([{ field: 'spec.attachedTo', message }]);
    }
    draft.need(keyOf('access-points', attachedTo));
  }
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const specChanged = !stored || !same(stored.spec, spec);
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  const metadata = stored
    ? { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations }
    : newMetadata({ name, project, labels, annotations }, world.now);
  const status = stored?.status ?? { connected: false };
  const device: Device = { apiVersion: 'skerry/v1', kind: 'Device', metadata, spec, status };
  draft.put(keyOf('devices', project, name), device);
  const about = { kind: 'Device', project, name, uid: metadata.uid };
  const before = stored?.spec.attachedTo;
  if (stored && before !== undefined && attachedTo !== undefined && before !== attachedTo) {
    const message = `device ${name} moved from ${before} to ${attachedTo}`;
    draft.event({ type: 'normal', reason: 'Handover', message, about });
  } else {
    const [reason, word] = stored ? ['Changed', 'changed'] : ['Created', 'created'];
    draft.event({ type: 'normal', reason, message: `device ${name} was ${word}`, about });
  }
  const action = stored ? 'update' : 'create';
  return {
    outcome: stored ? 'changed' : 'created',
    resource: device,
    steps: [{ action, kind: 'Device', name, text: `${action} device ${name}` }],
  };
}

/** With all that belongs to it. Errors: not_found, precondition_failed. */
export function deleteDevice(
  draft: Draft,
  world: World,
  project: string,
  name: string,
  conditions: Conditions = {},
): Accepted<Device> {
  const stored = draft.get('devices', project, name);
  if (!stored) throw missingDevice(project, name);
  requireConditions(conditions, stored.metadata.revision, `the device ${name}`);
  draft.delete(keyOf('devices', project, name));
  for (const collection of BESIDE)
    if (draft.get(collection, project, name)) draft.delete(keyOf(collection, project, name));
  const about = { kind: 'Device', project, name, uid: stored.metadata.uid };
  draft.event({ type: 'normal', reason: 'Deleted', message: `device ${name} was deleted`, about });
  return {
    outcome: 'deleted',
    resource: { ...stored, metadata: touched(stored.metadata, world.now, { spec: true }) },
    steps: [{ action: 'delete', kind: 'Device', name, text: `delete device ${name}` }],
  };
}
