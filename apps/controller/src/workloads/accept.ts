/** From a checked manifest to a stored workload: names resolved, admitted, its instances planned. No I/O. */
import type { Step } from '@skerry/contract';
import type { WorkloadManifest } from '@skerry/contract/schema';
import { manifestInvalid } from '@skerry/contract/schema';
import { furtherDigests, SkerryError, sameFurther, type Workload, withoutFurther } from '@skerry/model';
import { refuseGuestOfStream } from '../devices/stream-checks.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { CDROM, INITRD, kernelFor, type Place, resolveImage } from '../images/names.ts';
import { refuseDeleted, requireProject } from '../manifests/guards.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import { converge, type World } from './converge.ts';

export interface Accepted<T> {
  readonly outcome: 'created' | 'changed' | 'unchanged' | 'deleted';
  readonly resource: T;
  readonly steps: Step[];
}

export function putWorkload(
  draft: Draft,
  world: World,
  view: View,
  project: string,
  manifest: WorkloadManifest,
  conditions: Conditions = {},
): Accepted<Workload> {
  const { name } = manifest.metadata;
  const { spec } = manifest;
  requireProject(draft, project);
  const stored = draft.get('workloads', project, name);
  requireConditions(conditions, stored?.metadata.revision, `the workload ${name}`);
  if (stored) refuseDeleted(stored, `the workload ${name}`);
  const imageDigest = resolveImage(draft, project, spec.image, spec.runtime, () =>
    view.all('images', project),
  );
  const further = (name: string | undefined, place: Place) =>
    name === undefined
      ? undefined
      : resolveImage(draft, project, name, 'vm', () => view.all('images', project), place);
  const { cdrom, boot } = spec.vm ?? {};
  const furthers = furtherDigests({
    cdromDigest: further(cdrom, CDROM),
    kernelDigest: further(boot?.kernel, kernelFor(boot && archOf(view, project, imageDigest))),
    initrdDigest: further(boot?.initrd, INITRD),
  });
  requireVolumes(draft, project, manifest);

  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const digests = { imageDigest, ...furthers };
  const specChanged =
    !stored ||
    !same(stored.spec, spec) ||
    stored.status.imageDigest !== imageDigest ||
    !sameFurther(stored.status, furthers);
  const wordsChanged =
    !stored || !same(stored.metadata.labels, labels) || !same(stored.metadata.annotations, annotations);
  if (stored && !specChanged && !wordsChanged) return { outcome: 'unchanged', resource: stored, steps: [] };

  const workload: Workload = stored
    ? {
        ...stored,
        metadata: { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations },
        spec,
        status: { ...statusWithoutDigests(stored), ...digests },
      }
    : {
        apiVersion: 'skerry/v1',
        kind: 'Workload',
        metadata: newMetadata({ name, project, labels, annotations }, world.now),
        spec,
        control: { run: 'running', restarts: 0, rebuilds: 0 },
        status: { observedGeneration: 0, replicas: 0, ready: 0, ...digests },
      };
  const outcome = stored ? 'changed' : 'created';
  const own: Step = {
    action: stored ? 'update' : 'create',
    kind: 'Workload',
    name,
    text: `${stored ? 'update' : 'create'} workload ${name}`,
  };
  const { steps, workload: resource } = converge(
    draft,
    stored,
    workload,
    view.instancesOf(project, name),
    world,
  );
  draft.event({
    type: 'normal',
    reason: stored ? 'Changed' : 'Created',
    message: `workload ${name} was ${outcome}`,
    about: { kind: 'Workload', project, name, uid: workload.metadata.uid },
  });
  return { outcome, resource: resource!, steps: [own, ...steps] };
}

function archOf(view: View, project: string, digest: string): string | undefined {
  for (const { status } of view.all('images', project)) if (status.digest === digest) return status.arch;
  return undefined;
}

function statusWithoutDigests({ status }: Workload): Workload['status'] {
  const { imageDigest, ...rest } = withoutFurther(status);
  return rest;
}

function requireVolumes(draft: Draft, project: string, manifest: WorkloadManifest): void {
  for (const [index, { name }] of (manifest.spec.volumes ?? []).entries()) {
    const volume = draft.get('volumes', project, name);
    if (!volume || volume.metadata.deletedAt) {
      const message = volume
        ? `the volume "${name}" is being deleted`
        : `there is no volume "${name}" in the project ${project}`;
      throw manifestInvalid([{ field: `spec.volumes[${index}].name`, message }]);
    }
    draft.need(keyOf('volumes', project, name));
  }
}

/** Marks a workload to go; it goes when its instances are gone. Errors: not_found. */
export function deleteWorkload(
  draft: Draft,
  world: World,
  view: View,
  project: string,
  name: string,
  conditions: Conditions = {},
): Accepted<Workload> {
  const stored = requireWorkload(draft, project, name);
  requireConditions(conditions, stored.metadata.revision, `the workload ${name}`);
  if (stored.metadata.deletedAt) return { outcome: 'unchanged', resource: stored, steps: [] };
  refuseGuestOfStream(draft, view, project, name);
  const metadata = { ...touched(stored.metadata, world.now, { spec: true }), deletedAt: world.now };
  const workload: Workload = { ...stored, metadata };
  const { steps, workload: left } = converge(draft, stored, workload, view.instancesOf(project, name), world);
  const own: Step = { action: 'delete', kind: 'Workload', name, text: `delete workload ${name}` };
  draft.event({
    type: 'normal',
    reason: 'Deleted',
    message: `workload ${name} was asked to go`,
    about: { kind: 'Workload', project, name, uid: stored.metadata.uid },
  });
  return { outcome: 'deleted', resource: left ?? workload, steps: [own, ...steps] };
}

export type Verb = 'start' | 'stop' | 'restart';

/** The imperative verbs: they change `control` only, whose counters never fall. */
export function controlWorkload(
  draft: Draft,
  world: World,
  view: View,
  project: string,
  name: string,
  verb: Verb,
): Workload {
  const stored = requireWorkload(draft, project, name);
  refuseDeleted(stored, `the workload ${name}`);
  const control = { ...stored.control };
  if (verb === 'restart') {
    if (control.run === 'stopped') {
      throw new SkerryError(
        'phase_forbids',
        `the workload ${name} is stopped: start it instead of restarting it`,
      );
    }
    control.restarts += 1;
  } else control.run = verb === 'stop' ? 'stopped' : 'running';
  if (same(control, stored.control)) return stored;
  const workload: Workload = {
    ...stored,
    control,
    metadata: touched(stored.metadata, world.now, { spec: true }),
  };
  const { workload: result } = converge(draft, stored, workload, view.instancesOf(project, name), {
    ...world,
    strict: false,
  });
  draft.event({
    type: 'normal',
    reason: { start: 'StartRequested', stop: 'StopRequested', restart: 'RestartRequested' }[verb],
    message: `${verb} of the workload ${name} was asked for`,
    about: { kind: 'Workload', project, name, uid: stored.metadata.uid },
  });
  return result ?? workload;
}

export function requireWorkload(draft: Draft, project: string, name: string): Workload {
  const stored = draft.get('workloads', project, name);
  if (!stored) throw new SkerryError('not_found', `there is no workload "${name}" in the project ${project}`);
  return stored;
}
