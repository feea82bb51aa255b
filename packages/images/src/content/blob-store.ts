/**
 * Blobs by digest under `<dataDir>/images/blobs/sha256/`. A blob is written beside its place, hashed on the way, synced
 * and renamed: what has a name is whole and has the digest of its name.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, chmod, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { newId, SkerryError } from '@skerry/model';
import { writeSparse } from './sparse-file.ts';

/** The folder is closed to others; a guest's unprivileged process gets some blobs opened for it and must be able to read them. */
export const BLOB_MODE = 0o644;

const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** Half a download that nobody went on with for so long is given up. */
const PARTIAL_KEPT_MS = 24 * 60 * 60 * 1000;

export interface StagedBlob {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** A full disk as ours, anything else as it was. */
export function translateWriteError(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT'
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
  readonly #partial: string;
  readonly #running = new Map<string, Promise<unknown>>();

  constructor(folder: string) {
    this.#blobs = join(folder, 'blobs/sha256');
    this.#staging = join(folder, 'staging');
    this.#partial = join(folder, 'partial');
  }

  /** Makes the folders and clears what a crash left half written. Partial downloads stay: they resume. */
  async start(): Promise<void> {
    await rm(this.#staging, { recursive: true, force: true });
    for (const folder of [this.#blobs, this.#staging, this.#partial])
      await mkdir(folder, { recursive: true, mode: 0o700 });
    await this.#forgetOldPartials();
  }

  /** One task at a time for each blob: two pulls that share a layer must not write into one file. */
  async alone<T>(digest: string, task: () => Promise<T>): Promise<T> {
    const before = this.#running.get(digest);
    const next = before ? before.then(task, task) : task();
    this.#running.set(digest, next);
    try {
      return await next;
    } finally {
      if (this.#running.get(digest) === next) this.#running.delete(digest);
    }
  }

  path(digest: string): string {
    return join(this.#blobs, checkDigest(digest).slice('sha256:'.length));
  }

  /** Where a download of the blob is gathered, across tries and restarts. */
  partialPath(digest: string): string {
    return join(this.#partial, checkDigest(digest).slice('sha256:'.length));
  }

  async has(digest: string): Promise<boolean> {
    return access(this.path(digest)).then(
      () => true,
      () => false,
    );
  }

  /** Errors: image_not_found. */
  async sizeBytes(digest: string): Promise<number> {
    const about = await stat(this.path(digest)).catch(() => undefined);
    if (!about) throw new SkerryError('image_not_found', `the blob ${digest} is not here`);
    return about.size;
  }

  /** Bytes that can be written where the blobs are. */
  async roomBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#partial);
    return bavail * bsize;
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

  /** A fresh place for what is not yet a blob; what a crash leaves there goes with the next start. */
  stagingPath(): string {
    return join(this.#staging, newId<'staged'>());
  }

  /** Hashes a stream into the staging folder, with holes where it has zeros if `sparse`. The caller commits or discards it. Errors: disk_full, cancelled. */
  async stage(
    source: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    { sparse = false } = {},
  ): Promise<StagedBlob> {
    const path = this.stagingPath();
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
      const options = signal ? { signal } : {};
      if (sparse) await pipeline(source, tap, (bytes) => writeSparse(path, bytes, 0o600), options);
      else await pipeline(source, tap, createWriteStream(path, { mode: 0o600 }), options);
    } catch (error) {
      await rm(path, { force: true });
      if (signal?.aborted)
        throw new SkerryError('cancelled', 'storing the image was cancelled', { cause: error });
      if (error instanceof SkerryError) throw error;
      throw translateWriteError(error);
    }
    return { path, digest: `sha256:${hash.digest('hex')}`, sizeBytes };
  }

  stageFile(
    path: string,
    signal?: AbortSignal,
    { sparse = false, progress }: { sparse?: boolean; progress?: (done: number) => void } = {},
  ): Promise<StagedBlob> {
    const source = createReadStream(path, { highWaterMark: 1024 * 1024 });
    if (!progress) return this.stage(source, signal, { sparse });
    const told = (async function* () {
      for await (const piece of source) {
        progress(source.bytesRead);
        yield piece as Buffer;
      }
    })();
    return this.stage(told, signal, { sparse });
  }

  stageText(text: string): Promise<StagedBlob> {
    return this.stage(
      (async function* () {
        yield Buffer.from(text);
      })(),
    );
  }

  /** Gives a staged file its name, durably; one that can't have it is thrown away. Errors: disk_full. */
  async commit(staged: StagedBlob): Promise<void> {
    try {
      await this.#settle(staged.path, staged.digest);
    } catch (error) {
      await this.discard(staged);
      throw translateWriteError(error);
    }
  }

  /** The same for a finished download, whose digest the caller has checked. Errors: disk_full. */
  async adopt(path: string, digest: string): Promise<void> {
    await this.#settle(path, digest).catch((error) => {
      throw translateWriteError(error);
    });
  }

  async #settle(path: string, digest: string): Promise<void> {
    await chmod(path, BLOB_MODE); // whatever the umask was
    const file = await open(path, 'r');
    await file.sync().finally(() => file.close());
    await rename(path, this.path(digest));
    const folder = await open(this.#blobs, 'r');
    await folder.sync().finally(() => folder.close());
  }

  async discard(staged: StagedBlob): Promise<void> {
    await rm(staged.path, { force: true });
  }

  /** Removes every blob that is not in `keep`, and downloads that nobody went on with. Returns bytes freed. */
  async collect(keep: ReadonlySet<string>): Promise<number> {
    let freed = await this.#forgetOldPartials();
    for (const hex of await readdir(this.#blobs)) {
      if (keep.has(`sha256:${hex}`)) continue;
      const path = join(this.#blobs, hex);
      freed += (await stat(path)).size;
      await rm(path, { force: true });
    }
    return freed;
  }

  async #forgetOldPartials(): Promise<number> {
    let freed = 0;
    for (const name of await readdir(this.#partial)) {
      const path = join(this.#partial, name);
      const { size, mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs < PARTIAL_KEPT_MS) continue;
      freed += size;
      await rm(path, { force: true });
    }
    return freed;
  }
}
