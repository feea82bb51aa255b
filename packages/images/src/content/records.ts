/** Records of images: what a look into them recognised, and which blobs each needs. One small file per digest. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { ImageFacts } from '../port.ts';
import { checkDigest, translateWriteError } from './blob-store.ts';

export interface ImageRecord {
  readonly facts: ImageFacts;
  /** Digests of all blobs that the image needs. */
  readonly blobs: readonly string[];
}

export class Records {
  readonly #folder: string;
  readonly #cache = new Map<string, ImageRecord>();

  constructor(folder: string) {
    this.#folder = join(folder, 'records');
  }

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder))
      if (name.endsWith('.new')) await rm(join(this.#folder, name), { force: true }); // a crash while writing
  }

  #path(digest: string): string {
    return join(this.#folder, `${checkDigest(digest).slice('sha256:'.length)}.json`);
  }

  /** Errors: image_not_found, image_invalid where the file is damaged. */
  async get(digest: string): Promise<ImageRecord> {
    const cached = this.#cache.get(digest);
    if (cached) return cached;
    const text = await readFile(this.#path(digest), 'utf8').catch(() => undefined);
    if (text === undefined)
      throw new SkerryError('image_not_found', `no image with the digest ${digest} is on this node`);
    const record = readRecord(text, digest);
    this.#cache.set(digest, record);
    return record;
  }

  put(record: ImageRecord): void {
    try {
      writeFileDurably(this.#path(record.facts.digest), JSON.stringify(record));
    } catch (error) {
      throw translateWriteError(error);
    }
    this.#cache.set(record.facts.digest, record);
  }

  async digests(): Promise<string[]> {
    const names = await readdir(this.#folder);
    return names
      .filter((name) => name.endsWith('.json'))
      .map((name) => `sha256:${name.slice(0, -'.json'.length)}`);
  }

  async remove(digest: string): Promise<void> {
    this.#cache.delete(digest);
    await rm(this.#path(digest), { force: true });
  }
}

function readRecord(text: string, digest: string): ImageRecord {
  try {
    const record = JSON.parse(text) as ImageRecord;
    if (record.facts.digest === digest && Array.isArray(record.blobs)) return record;
  } catch {
    // told below
  }
  throw new SkerryError(
    'image_invalid',
    `the record of ${digest} is damaged: import or pull the image again`,
  );
}
