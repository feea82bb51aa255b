/**
 * One blob from a registry, or from another store, to this one. What was cut off goes on where it stopped (HTTP Range, RFC 9110 section 14), also
 * after a restart of the program; a partial file that turns out wrong is fetched once more from its beginning.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import { type BlobStore, translateWriteError } from '../content/blob-store.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Answer } from './session.ts';

/** Connections that end early, one after the other, with nothing to show for it. */
const TRIES = 5;
/** So much more in one connection, and the registry is slow or far, not broken. */
const PROGRESS_BYTES = 64 * 1024;

/** Where blobs come from: a registry, or another store. */
export interface BlobSource {
  /** For messages: `the registry`. */
  readonly name: string;
  /** The first pause between tries. */
  readonly retryPauseMs: number;
  /** `path` is `blobs/<digest>`. */
  get(path: string, headers: Readonly<Record<string, string>>): Promise<Answer>;
}

export type BlobToFetch = Pick<Descriptor, 'digest' | 'sizeBytes'>;

/** Of the blob with that digest: how many bytes more are there (less, when they have to be fetched again). */
export type OnBytes = (count: number) => void;

const short = (digest: string) => digest.slice(0, 19);

async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }))
    hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

const sizeOf = async (path: string) => (await stat(path).catch(() => undefined))?.size;

/** Errors: registry_unavailable, unauthenticated, image_not_found, image_digest_mismatch, disk_full, cancelled. */
export function downloadBlob(
  source: BlobSource,
  blobs: BlobStore,
  blob: BlobToFetch,
  onBytes: OnBytes,
  signal: AbortSignal,
): Promise<void> {
  return blobs.alone(blob.digest, async () => {
    if (await blobs.has(blob.digest)) return onBytes(blob.sizeBytes);
    const path = blobs.partialPath(blob.digest);
    let reported = 0;
    const report = (have: number) => {
      onBytes(have - reported);
      reported = have;
    };
    const wasThere = ((await sizeOf(path)) ?? 0) > 0;
    for (let round = 0; ; round++) {
      await fetchAll(source, blob, path, report, signal);
      const digest = await fileDigest(path);
      if (digest === blob.digest) return blobs.adopt(path, blob.digest);
      await rm(path, { force: true });
      if (!wasThere || round > 0) {
        throw new SkerryError(
          'image_digest_mismatch',
          `${source.name} answers ${short(blob.digest)} with content of the digest ${short(digest)}`,
        );
      }
    }
  });
}

/** Until the file has the promised size. */
async function fetchAll(
  source: BlobSource,
  blob: BlobToFetch,
  path: string,
  report: (have: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; ; ) {
    let have = await sizeOf(path);
    if (have !== undefined && have > blob.sizeBytes) {
      await rm(path, { force: true });
      have = undefined;
    }
    report(have ?? 0);
    if (have === blob.sizeBytes) return;
    const problem = await fetchRest(source, blob, path, have ?? 0, report);
    const now = (await sizeOf(path)) ?? 0;
    if (now === blob.sizeBytes && problem === undefined) return report(now);
    failures = now - (have ?? 0) >= PROGRESS_BYTES ? 0 : failures + 1;
    if (failures >= TRIES) {
      const why = problem ? `: ${problem.message}` : '';
      throw new SkerryError(
        'registry_unavailable',
        `the transfer of ${short(blob.digest)} broke off ${failures} times${why}`,
        { cause: problem },
      );
    }
    await pause(source.retryPauseMs * failures, undefined, { signal });
  }
}

/** One connection. Returns what ended it early, for another try; throws what another try does not help. */
async function fetchRest(
  source: BlobSource,
  blob: BlobToFetch,
  path: string,
  have: number,
  report: (have: number) => void,
): Promise<Error | undefined> {
  try {
    const answer = await source.get(`blobs/${blob.digest}`, have > 0 ? { range: `bytes=${have}-` } : {});
    const start = resumesAt(answer);
    if (start !== 0 && start !== have) {
      answer.body.destroy();
      await rm(path, { force: true });
      return new Error(`${source.name} sends another range than it was asked for`);
    }
    const bounded = async function* () {
      let size = start;
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > blob.sizeBytes) {
          throw new SkerryError(
            'image_digest_mismatch',
            `${short(blob.digest)} is longer than the ${blob.sizeBytes} bytes of its descriptor`,
          );
        }
        report(size);
        yield chunk;
      }
    };
    await pipeline(bounded(), createWriteStream(path, { flags: start > 0 ? 'a' : 'w', mode: 0o600 }));
    return undefined;
  } catch (given) {
    const error = translateWriteError(given);
    if (!(error instanceof SkerryError)) return error as Error;
    if (error.details.status === 416) {
      await rm(path, { force: true }); // it has less than we have: begin anew
      return error;
    }
    // What fills the disk, or is wrong, must not stay; what was cut off is the start of the next try.
    if (error.code === 'disk_full' || error.code === 'image_digest_mismatch') await rm(path, { force: true });
    throw error;
  }
}

/** Where the body begins: 0 for a whole one. */
function resumesAt({ statusCode, headers }: Answer): number {
  if (statusCode !== 206) return 0;
  const start = /^bytes (\d+)-/.exec(String(headers['content-range'] ?? ''))?.[1];
  return start === undefined ? -1 : Number(start);
}
