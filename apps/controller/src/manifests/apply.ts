/**
 * Several manifests at once, all or nothing: everything is planned into one draft, and committed in one transaction of
 * the store. A dry run plans in the same way and throws the draft away, so `plan` tells what `apply` would do.
 */
import type { Applied, ApplyResult } from '@skerry/contract';
import type { AnyManifest, ManifestKind, ParsedManifest } from '@skerry/contract/schema';
import { manifestInvalid } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';
import { deleteAccess, putAccess } from '../access/accept.ts';
import { type Core, change, planOnce } from '../core.ts';
import { deleteDevice, putDevice } from '../devices/accept.ts';
import { checkStreams, requireOfStream } from '../devices/stream-checks.ts';
import { deleteStream, putStream } from '../devices/streams.ts';
import { putNode } from '../nodes/accept.ts';
import { deleteProject, putProject } from '../projects/accept.ts';
import type { Draft } from '../state/draft.ts';
import { type Collection, keyOf } from '../state/keys.ts';
import { deleteVolume, putVolume } from '../volumes/accept.ts';
import { type Accepted, deleteWorkload, putWorkload } from '../workloads/accept.ts';
import type { World } from '../workloads/converge.ts';

const COLLECTION: Readonly<Record<ManifestKind, Collection>> = {
  Project: 'projects',
  Site: 'sites',
  AccessPoint: 'access-points',
  Link: 'links',
  Client: 'clients',
  Node: 'nodes',
  Volume: 'volumes',
  Workload: 'workloads',
  Device: 'devices',
  Stream: 'streams',
};
/** What others need comes first; deleting goes the other way round. */
const ORDER: readonly ManifestKind[] = [
  'Project',
  'Site',
  'AccessPoint',
  'Link',
  'Client',
  'Node',
  'Volume',
  'Workload',
  'Device',
  'Stream',
];

interface Resource {
  readonly metadata: { readonly generation: number };
}

export const manifestKey = ({ kind, metadata }: AnyManifest, project: string | undefined): string =>
  project === undefined
    ? keyOf(COLLECTION[kind], metadata.name)
    : keyOf(COLLECTION[kind], project, metadata.name);

/** The keys whose writers have to wait for each other: the resource itself and the volumes that it mounts. */
export function lockKeys(manifest: AnyManifest, project: string | undefined): string[] {
  const mounted = manifest.kind === 'Workload' ? (manifest.spec.volumes ?? []) : [];
  return [manifestKey(manifest, project), ...mounted.map(({ name }) => keyOf('volumes', project!, name))];
}

function putOne(
  core: Core,
  draft: Draft,
  world: World,
  { manifest, project }: ParsedManifest,
): Accepted<Resource> {
  switch (manifest.kind) {
    case 'Project':
      return putProject(draft, world, manifest);
    case 'Node':
      return putNode(draft, world, manifest);
    case 'Site':
    case 'AccessPoint':
    case 'Link':
    case 'Client':
      return putAccess(draft, world, core.view, manifest);
    case 'Volume':
      return putVolume(draft, world, project!, manifest);
    case 'Workload':
      return putWorkload(draft, world, core.view, project!, manifest);
    case 'Device':
      return putDevice(draft, world, project!, manifest);
    case 'Stream':
      return putStream(draft, world, project!, manifest);
  }
}

function deleteOne(
  core: Core,
  draft: Draft,
  world: World,
  { manifest, project }: ParsedManifest,
): Accepted<Resource> | undefined {
  const { name } = manifest.metadata;
  try {
    switch (manifest.kind) {
      case 'Project':
        return deleteProject(draft, world, core.view, name);
      case 'Volume':
        return deleteVolume(draft, world, core.view, project!, name);
      case 'Workload':
        return deleteWorkload(draft, world, core.view, project!, name);
      case 'Device':
        return deleteDevice(draft, world, project!, name);
      case 'Stream':
        return deleteStream(draft, world, core.view, project!, name);
      case 'Site':
      case 'AccessPoint':
      case 'Link':
      case 'Client':
        return deleteAccess(draft, world, core.view, manifest.kind, name);
      case 'Node':
        throw new SkerryError(
          'forbidden',
          `the node ${name} can not be deleted by a manifest: it goes with its agent`,
        );
    }
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'not_found') return undefined;
    throw error;
  }
}

/** An error of one document, with the line of its field, or of the document's beginning. */
function located(error: unknown, { line, lineOf, manifest }: ParsedManifest): unknown {
  if (!(error instanceof SkerryError)) return error;
  const { errors, field } = error.details as {
    errors?: { field: string; message: string }[];
    field?: string;
  };
  if (error.code === 'manifest_invalid' && errors)
    return manifestInvalid(errors.map((one) => ({ line: lineOf(one.field), ...one })));
  const at = field === undefined ? line : lineOf(field);
  const where = `${manifest.kind.toLowerCase()} ${manifest.metadata.name} (line ${at})`;
  return new SkerryError(error.code, `${where}: ${error.message}`, {
    cause: error,
    details: { ...error.details, line: at, ...(field !== undefined && { field }) },
  });
}

type One = (draft: Draft, world: World, document: ParsedManifest) => Accepted<Resource> | undefined;

function planAll(
  documents: readonly ParsedManifest[],
  order: readonly ManifestKind[],
  one: One,
  draft: Draft,
  world: World,
): Applied[] {
  const results = new Map<ParsedManifest, Applied>();
  for (const kind of order) {
    for (const document of documents) {
      const { manifest, project, line } = document;
      if (manifest.kind !== kind) continue;
      const about = { kind, name: manifest.metadata.name, line, ...(project !== undefined && { project }) };
      try {
        const accepted = one(draft, world, document);
        results.set(
          document,
          accepted
            ? {
                ...about,
                outcome: accepted.outcome,
                generation: accepted.resource.metadata.generation,
                steps: accepted.steps,
              }
            : { ...about, outcome: 'absent', steps: [] },
        );
      } catch (error) {
        throw located(error, document);
      }
    }
  }
  return documents.map((document) => results.get(document)!);
}

/** What is named may stand anywhere in the same file. */
function requireNamed(draft: Draft, documents: readonly ParsedManifest[]): void {
  for (const document of documents) {
    if (document.manifest.kind !== 'Stream') continue;
    try {
      requireOfStream(draft, document.project!, document.manifest);
    } catch (error) {
      throw located(error, document);
    }
  }
}

async function runAll(
  core: Core,
  documents: readonly ParsedManifest[],
  dryRun: boolean,
  order: readonly ManifestKind[],
  one: One,
  afterwards?: typeof requireNamed,
): Promise<ApplyResult> {
  const work = (draft: Draft, world: World) => {
    const results = planAll(documents, order, one, draft, world);
    afterwards?.(draft, documents);
    return results;
  };
  if (dryRun) {
    const planned = planOnce(core, true, work, { explains: true });
    planned.release();
    return { dryRun, revision: core.view.revision, documents: planned.result };
  }
  const keys = documents.flatMap(({ manifest, project }) => lockKeys(manifest, project));
  const { result, revision } = await change(core, keys, true, work);
  return { dryRun, revision, documents: result };
}

export async function applyManifests(
  core: Core,
  documents: readonly ParsedManifest[],
  dryRun: boolean,
): Promise<ApplyResult> {
  for (const document of documents) {
    if (document.manifest.kind !== 'Stream') continue;
    await checkStreams(document.manifest).catch((error) => {
      throw located(error, document);
    });
  }
  return runAll(
    core,
    documents,
    dryRun,
    ORDER,
    (draft, world, document) => putOne(core, draft, world, document),
    requireNamed,
  );
}

export const deleteManifests = (core: Core, documents: readonly ParsedManifest[]): Promise<ApplyResult> =>
  runAll(core, documents, false, [...ORDER].reverse(), (draft, world, document) =>
    deleteOne(core, draft, world, document),
  );
