/**
 * Pulls an image: manifest (by tag or digest), the one of this node's platform, config, layers. A layer that was cut off
 * goes on where it stopped (HTTP Range); nothing is taken that does not have its digest.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import { type BlobStore, translateWriteError } from '../content/blob-store.ts';
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
import { finishImage } from '../oci/finish.ts';
import { parseReference } from './reference.ts';
import { type Credentials, limitedText, RegistrySession } from './session.ts';

export interface PullOptions {
  readonly signal: AbortSignal;
  readonly insecure?: boolean;
  readonly auth?: Credentials;
  readonly progress?: (done: number, total: number) => void;
}

const PARALLEL = 3;
const TRIES = 4;
const hashOf = (data: string) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }))
    hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

async function fetchManifest(
  session: RegistrySession,
  reference: string,
): Promise<{ text: string; digest: string }> {
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

async function fetchBlob(
  session: RegistrySession,
  blobs: BlobStore,
  blob: Descriptor,
  onBytes: (count: number) => void,
): Promise<void> {
  const path = join(blobs.partial, blob.digest.slice('sha256:'.length));
  let counted = 0;
  for (let attempt = 0; ; attempt++) {
    let have = (await stat(path).catch(() => undefined))?.size ?? 0;
    if (have > blob.sizeBytes) {
      await rm(path, { force: true });
      have = 0;
    }
    onBytes(have - counted);
    counted = have;
    if (have === blob.sizeBytes && have > 0) break;
    try {
      const answer = await session.get(`blobs/${blob.digest}`, have > 0 ? { range: `bytes=${have}-` } : {});
      const resumed = answer.statusCode === 206;
      if (!resumed && counted > 0) {
        onBytes(-counted);
        counted = 0;
      }
      const limited = async function* () {
        let size = resumed ? have : 0;
        for await (const chunk of answer.body as AsyncIterable<Buffer>) {
          size += chunk.length;
          if (size > blob.sizeBytes)
            throw new SkerryError(
              'image_digest_mismatch',
              `${blob.digest.slice(0, 19)} is longer than the ${blob.sizeBytes} bytes of its descriptor`,
            );
          counted += chunk.length;
          onBytes(chunk.length);
          yield chunk;
        }
      };
      await pipeline(limited(), createWriteStream(path, { flags: resumed ? 'a' : 'w', mode: 0o600 }));
      if ((await stat(path)).size === blob.sizeBytes) break;
      if (attempt >= TRIES)
        throw new SkerryError(
          'registry_unavailable',
          `${blob.digest.slice(0, 19)} was cut off ${attempt + 1} times`,
        );
    } catch (error) {
      if (error instanceof SkerryError) {
        if (error.code === 'image_digest_mismatch') await rm(path, { force: true });
        throw error;
      }
      const translated = translateWriteError(error);
      if (translated instanceof SkerryError) throw translated;
      if ((error as Error).name === 'AbortError')
        throw new SkerryError('cancelled', 'the pull was cancelled', { cause: error });
      if (attempt >= TRIES)
        throw new SkerryError(
          'registry_unavailable',
          `${blob.digest.slice(0, 19)} could not be fetched: ${(error as Error).message}`,
          { cause: error },
        );
    }
  }
  const digest = await fileDigest(path);
  if (digest !== blob.digest) {
    await rm(path, { force: true });
    throw new SkerryError(
      'image_digest_mismatch',
      `the registry answers ${blob.digest.slice(0, 19)} with content of the digest ${digest.slice(0, 19)}`,
    );
  }
  const file = await open(path, 'r');
  await file.sync().finally(() => file.close());
  await blobs.adopt(path, blob.digest);
}

/** Errors: request_invalid, registry_unavailable, unauthenticated, image_not_found, image_invalid, image_digest_mismatch, disk_full, cancelled. */
export async function pullImage(blobs: BlobStore, text: string, options: PullOptions): Promise<ImageRecord> {
  const reference = parseReference(text);
  const { signal, auth } = options;
  const session = new RegistrySession({
    registry: reference.registry,
    repository: reference.repository,
    insecure: options.insecure ?? false,
    signal,
    ...(auth ? { auth } : {}),
  });
  try {
    let manifest = await fetchManifest(session, reference.digest ?? reference.tag!);
    const index = parseIndex(parseDocument(manifest.text, 'the manifest'));
    if (index) manifest = await fetchManifest(session, choosePlatform(index).digest);
    const { config, layers } = parseManifest(parseDocument(manifest.text, 'the manifest'));
    const wanted = [...new Map([config, ...layers].map((blob) => [blob.digest, blob])).values()];
    const total = wanted.reduce((sum, blob) => sum + blob.sizeBytes, 0);
    let done = 0;
    const onBytes = (count: number) => {
      done += count;
      options.progress?.(done, total);
    };
    const queue = [...wanted];
    const work = async () => {
      for (let blob = queue.shift(); blob; blob = queue.shift()) {
        if (await blobs.has(blob.digest)) onBytes(blob.sizeBytes);
        else await fetchBlob(session, blobs, blob, onBytes);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    const staged = await blobs.stageText(manifest.text);
    await blobs.commit(staged);
    const found = layers.map((layer) => ({
      path: blobs.path(layer.digest),
      digest: layer.digest,
      sizeBytes: layer.sizeBytes,
    }));
    return await finishImage(
      {
        digest: manifest.digest,
        configDigest: config.digest,
        config: parseConfig(
          parseDocument(await blobs.text(config.digest, METADATA_LIMIT_BYTES), 'the config'),
        ),
        layers: found,
        metadata: [{ digest: manifest.digest, sizeBytes: staged.sizeBytes }, config],
        source: `pull: ${text}`,
      },
      signal,
    );
  } finally {
    await session.close();
  }
}
