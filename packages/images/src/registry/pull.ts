/**
 * Pulls an image: manifest (by tag or digest), the one of this node's platform, config, layers. What can't run here is told
 * before its layers are fetched, and nothing is taken that does not have its digest.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { formatBytes, SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import {
  choosePlatform,
  type Descriptor,
  INDEX_TYPES,
  MANIFEST_TYPES,
  METADATA_LIMIT_BYTES,
  parseConfig,
  parseDocument,
  parseIndex,
  parseManifest,
} from '../oci/documents.ts';
import { checkConfig, finishImage } from '../oci/finish.ts';
import { downloadBlob, type OnBytes } from './download.ts';
import { parseReference, type Reference } from './reference.ts';
import { type Credentials, limitedText, RegistrySession } from './session.ts';

export interface PullOptions {
  readonly signal: AbortSignal;
  readonly insecure?: boolean;
  readonly auth?: Credentials;
  readonly progress?: (done: number, total: number) => void;
}

interface PulledManifest {
  readonly text: string;
  readonly digest: string;
}

const PARALLEL = 3;
const hashOf = (data: string) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

async function fetchManifest(session: RegistrySession, reference: string): Promise<PulledManifest> {
  const answer = await session.get(`manifests/${reference}`, {
    accept: [...INDEX_TYPES, ...MANIFEST_TYPES].join(', '),
  });
  const text = await limitedText(answer, METADATA_LIMIT_BYTES);
  const digest = hashOf(text);
  if (reference.startsWith('sha256:') && digest !== reference) {
    throw new SkerryError(
      'image_digest_mismatch',
      `the registry answers ${reference.slice(0, 19)} with content of the digest ${digest.slice(0, 19)}`,
    );
  }
  return { text, digest };
}

async function platformManifest(session: RegistrySession, reference: Reference): Promise<PulledManifest> {
  const first = await fetchManifest(session, reference.digest ?? reference.tag!);
  const index = parseIndex(parseDocument(first.text, 'the manifest'));
  return index ? fetchManifest(session, choosePlatform(index).digest) : first;
}

/** Errors: disk_full with the numbers, before anything is fetched. */
async function checkRoom(blobs: BlobStore, wanted: readonly Descriptor[]): Promise<void> {
  let missingBytes = 0;
  for (const { digest, sizeBytes } of wanted) {
    if (await blobs.has(digest)) continue;
    const begun = await stat(blobs.partialPath(digest)).catch(() => undefined);
    missingBytes += Math.max(0, sizeBytes - (begun?.size ?? 0));
  }
  const roomBytes = await blobs.roomBytes();
  if (missingBytes > roomBytes) {
    throw new SkerryError(
      'disk_full',
      `the image needs ${formatBytes(missingBytes)} more, the file system of the data folder has ${formatBytes(roomBytes)} left`,
    );
  }
}

/** All of them, some at once; when one fails, the others stop and its error is the answer. */
async function downloadAll(
  wanted: readonly Descriptor[],
  download: (blob: Descriptor) => Promise<void>,
  stop: () => void,
): Promise<void> {
  const queue = [...wanted];
  const failures: unknown[] = [];
  const work = async () => {
    for (let blob = queue.shift(); blob && failures.length === 0; blob = queue.shift()) {
      await download(blob).catch((error) => {
        failures.push(error);
        stop();
      });
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  if (failures.length > 0) throw failures[0];
}

/** Errors: request_invalid, registry_unavailable, unauthenticated, image_not_found, image_invalid, image_digest_mismatch, disk_full, cancelled. */
export async function pullImage(
  blobs: BlobStore,
  text: string,
  options: PullOptions,
  retryPauseMs: number,
): Promise<ImageRecord> {
  const reference = parseReference(text);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const { auth, insecure = false } = options;
  const { registry, repository } = reference;
  const session = new RegistrySession({
    registry,
    repository,
    insecure,
    signal,
    retryPauseMs,
    ...(auth ? { auth } : {}),
  });
  try {
    const manifest = await platformManifest(session, reference);
    const { config, layers, annotations } = parseManifest(parseDocument(manifest.text, 'the manifest'));
    if (config.sizeBytes > METADATA_LIMIT_BYTES)
      throw new SkerryError(
        'image_invalid',
        `the config has ${config.sizeBytes} bytes, too many for a document`,
      );
    const wanted = [...new Map([config, ...layers].map((blob) => [blob.digest, blob])).values()];
    await checkRoom(blobs, wanted);
    const total = wanted.reduce((sum, blob) => sum + blob.sizeBytes, 0);
    let done = 0;
    const onBytes: OnBytes = (count) => {
      done += count;
      if (count !== 0) options.progress?.(done, total);
    };
    const download = (blob: Descriptor) => downloadBlob(session, blobs, blob, onBytes, signal);
    await download(config);
    const parsed = parseConfig(
      parseDocument(await blobs.text(config.digest, METADATA_LIMIT_BYTES), 'the config'),
    );
    checkConfig(parsed, layers.length);
    await downloadAll(wanted.slice(1), download, () => stop.abort());
    const staged = await blobs.stageText(manifest.text);
    await blobs.commit(staged);
    const found = layers.map((layer) => ({ ...layer, path: blobs.path(layer.digest) }));
    const metadata = [{ digest: manifest.digest, sizeBytes: staged.sizeBytes }, config];
    const image = {
      digest: manifest.digest,
      config: parsed,
      layers: found,
      metadata,
      source: `pull: ${text}`,
      annotations,
    };
    const own: StagedBlob[] = [];
    try {
      const record = await finishImage(image, signal, async (source) => {
        const one = await blobs.stage(source, signal);
        own.push(one);
        return one;
      });
      for (const one of own) if (record.blobs.includes(one.digest)) await blobs.commit(one);
      return record;
    } finally {
      for (const one of own) await blobs.discard(one);
    }
  } catch (error) {
    if (options.signal.aborted)
      throw new SkerryError('cancelled', 'the pull was cancelled', { cause: error });
    throw error;
  } finally {
    await session.close();
  }
}
