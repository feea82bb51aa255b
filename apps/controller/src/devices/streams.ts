/** Streams: made, changed, deleted when no other one sends to them. Secrets of sinks are kept apart from the resource. No I/O. */
import type { StreamManifest } from '@skerry/contract/schema';
import { SkerryError, type Stream } from '@skerry/model';
import { drafted } from '../access/kinds.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { requireProject } from '../manifests/guards.ts';
import type { Draft } from '../state/draft.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import type { Accepted } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';
import type { StreamSecrets } from './stored.ts';
import { takeSecrets } from './stream-secrets.ts';

export const missingStream = (project: string, name: string) =>
  new SkerryError('not_found', `there is no stream "${name}" in the project ${project}`);

/** The spec was checked by then (stream-checks.ts). Errors: not_found for the project, precondition_failed. */
export function putStream(
  draft: Draft,
  world: World,
  project: string,
  manifest: StreamManifest,
  conditions: Conditions = {},
): Accepted<Stream> {
  const { name } = manifest.metadata;
  const stored = draft.get('streams', project, name);
  requireConditions(conditions, stored?.metadata.revision, `the stream ${name}`);
  requireProject(draft, project);
  const kept = draft.get('stream-secrets', project, name);
  const former = kept && kept.uid === stored?.metadata.uid ? kept.sinks : {};
  const { spec, secrets } = takeSecrets(manifest.spec, former);
  const labels = { ...manifest.metadata.labels };
  const annotations = { ...manifest.metadata.annotations };
  const secretsChanged = !same(former, secrets);
  const specChanged = !stored || !same(stored.spec, spec) || secretsChanged;
  const unchanged =
    !specChanged && same(stored.metadata.labels, labels) && same(stored.metadata.annotations, annotations);
  if (unchanged) return { outcome: 'unchanged', resource: stored, steps: [] };
  const metadata = stored
    ? { ...touched(stored.metadata, world.now, { spec: specChanged }), labels, annotations }
    : newMetadata({ name, project, labels, annotations }, world.now);
  const stream: Stream = {
    apiVersion: 'skerry/v1',
    kind: 'Stream',
    metadata,
    spec,
    status: { nodes: [] },
  };
  draft.put(keyOf('streams', project, name), stream);
  const beside = keyOf('stream-secrets', project, name);
  if (Object.keys(secrets).length > 0)
    draft.put(beside, { uid: metadata.uid, sinks: secrets } satisfies StreamSecrets);
  else if (kept) draft.delete(beside);
  const [action, reason, word] = stored
    ? (['update', 'Changed', 'changed'] as const)
    : (['create', 'Created', 'created'] as const);
  const about = { kind: 'Stream', project, name, uid: metadata.uid };
  draft.event({ type: 'normal', reason, message: `stream ${name} was ${word}`, about });
  return {
    outcome: word,
    resource: stream,
    steps: [{ action, kind: 'Stream', name, text: `${action} stream ${name}` }],
  };
}

/** Errors: not_found, in_use with who sends to it, precondition_failed. */
export function deleteStream(
  draft: Draft,
  world: World,
  view: View,
  project: string,
  name: string,
  conditions: Conditions = {},
): Accepted<Stream> {
  const stored = draft.get('streams', project, name);
  if (!stored) throw missingStream(project, name);
  requireConditions(conditions, stored.metadata.revision, `the stream ${name}`);
  const by: string[] = [];
  for (const { metadata, spec } of drafted(draft, view, 'streams'))
    if (metadata.project === project && metadata.name !== name)
      if (spec.to.some((sink) => 'stream' in sink && sink.stream.name === name))
        by.push(`stream ${metadata.name}`);
  if (by.length > 0) {
    const message = `the stream ${name} is used: ${by.slice(0, 5).join(', ')} sends to it`;
    throw new SkerryError('in_use', message, { details: { by } });
  }
  draft.delete(keyOf('streams', project, name));
  if (draft.get('stream-secrets', project, name)) draft.delete(keyOf('stream-secrets', project, name));
  const about = { kind: 'Stream', project, name, uid: stored.metadata.uid };
  draft.event({ type: 'normal', reason: 'Deleted', message: `stream ${name} was deleted`, about });
  return {
    outcome: 'deleted',
    resource: { ...stored, metadata: touched(stored.metadata, world.now, { spec: true }) },
    steps: [{ action: 'delete', kind: 'Stream', name, text: `delete stream ${name}` }],
  };
}
