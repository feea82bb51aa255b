/**
 * Blobs by digest under `<dataDir>/images/blobs/sha256/`. A blob is written beside its place, hashed on the way, synced
 * and renamed: what has a name is whole and has the digest of its name.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, chmod, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { newId, SkerryError } from '@skerry/model';

/** The folder is closed to others; a guest's unprivileged process gets some blobs opened for it and must be able to read them. */
export const BLOB_MODE = 0o644;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export interface StagedBlob {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** A full disk as ours, anything else as it was. */
export function translateWriteError(error: unknown): unknown {
  return (error as NodeJS.ErrnoException).code === 'ENOSPC'
    ? new SkerryError(
        'disk_full',
        'the image could not be stored: no space on the file system of the data folder',
        { cause: error },
      )
    : error;
}

export function checkDigest(digest: string): string {
  if (!DIGEST.test(digest))
    throw new SkerryError('image_invalid', `"${digest.slice(0, 80)}" is no sha256 digest`);
  return digest;
}

export class BlobStore {
  readonly #blobs: string;
  readonly #staging: string;
  readonly partial: string;

  constructor(folder: string) {
    this.#blobs = join(folder, 'blobs/sha256');
    this.#staging = join(folder, 'staging');
    this.partial = join(folder, 'partial');
  }

  /** Makes the folders and clears what a crash left half written. Partial downloads stay: they resume. */
  async start(): Promise<void> {
    await rm(this.#staging, { recursive: true, force: true });
    for (const folder of [this.#blobs, this.#staging, this.partial])
      await mkdir(folder, { recursive: true, mode: 0o700 });
  }

  path(digest: string): string {
    return join(this.#blobs, checkDigest(digest).slice('sha256:'.length));
  }

  async has(digest: string): Promise<boolean> {
    return access(this.path(digest)).then(
      () => true,
      () => false,
    );
  }

  /** A metadata blob as text; over `limitBytes` it is refused. Errors: image_invalid, image_not_found. */
  async text(digest: string, limitBytes: number): Promise<string> {
    const path = this.path(digest);
    const about = await stat(path).catch(() => undefined);
    if (!about) throw new SkerryError('image_not_found', `the blob ${digest} is not here`);
    if (about.size > limitBytes)
      throw new SkerryError(
        'image_invalid',
        `the document ${digest} has ${about.size} bytes, more than ${limitBytes}`,
      );
    return readFile(path, 'utf8');
  }

  /** Hashes a stream into the staging folder. The caller commits or discards it. Errors: disk_full. */
  async stage(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<StagedBlob> {
    const path = join(this.#staging, newId<'staged'>());
    const hash = createHash('sha256');
    let sizeBytes = 0;
    const tap = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        done(null, chunk);
      },
    });
    try {
      await pipeline(source, tap, createWriteStream(path, { mode: 0o600 }), {
        ...(signal ? { signal } : {}),
      });
    } catch (error) {
      await rm(path, { force: true });
      throw translateWriteError(error);
    }
    return { path, digest: `sha256:${hash.digest('hex')}`, sizeBytes };
  }

  stageFile(path: string, signal?: AbortSignal): Promise<StagedBlob> {
    return this.stage(createReadStream(path, { highWaterMark: 1024 * 1024 }), signal);
  }

  stageText(text: string): Promise<StagedBlob> {
    return this.stage(
      (async function* () {
        yield Buffer.from(text);
      })(),
    );
  }

  /** Gives a staged file its name, durably. */
  async commit(staged: StagedBlob): Promise<void> {
    try {
      await chmod(staged.path, BLOB_MODE); // whatever the umask was
      const file = await open(staged.path, 'r');
      await file.sync().finally(() => file.close());
      await rename(staged.path, this.path(staged.digest));
      const folder = await open(this.#blobs, 'r');
      await folder.sync().finally(() => folder.close());
    } catch (error) {
      throw translateWriteError(error);
    }
  }

  async discard(staged: StagedBlob): Promise<void> {
    await rm(staged.path, { force: true });
  }

  /** A second name for a file that is complete and was checked elsewhere (a finished download). */
  async adopt(path: string, digest: string): Promise<void> {
    await link(path, this.path(digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw translateWriteError(error);
    });
    await rm(path, { force: true });
  }

  /** Removes every blob that is not in `keep`. Returns bytes freed. */
  async collect(keep: ReadonlySet<string>): Promise<number> {
    let freed = 0;
    for (const hex of await readdir(this.#blobs)) {
      if (keep.has(`sha256:${hex}`)) continue;
      const path = join(this.#blobs, hex);
      freed += (await stat(path)).size;
      await rm(path, { force: true });
    }
    return freed;
  }
}
