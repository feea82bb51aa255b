/** An OCI layout that lies in a folder. Only what a layout has is read, so that a wrong folder is not copied; links in it are not followed. */
import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import { ENTRY_LIMIT, type StagedArchive, stagedArchive } from './archive.ts';

const BLOBS = 'blobs/sha256';

/** Errors: image_invalid naming the entry, image_digest_mismatch, disk_full, cancelled. */
export async function stageFolder(
  folder: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<StagedArchive> {
  const isFolder = (name: string) =>
    lstat(join(folder, name)).then(
      (about) => about.isDirectory(),
      () => false,
    );
  const names = await readdir(folder);
  if (!names.includes('index.json') || !(await isFolder('blobs')) || !(await isFolder(BLOBS))) {
    throw new SkerryError('image_invalid', `the folder is no OCI layout: it needs index.json and ${BLOBS}`);
  }
  const found = await readdir(join(folder, BLOBS));
  if (found.length > ENTRY_LIMIT)
    throw new SkerryError('image_invalid', `the layout has more than ${ENTRY_LIMIT} blobs`);
  const files = new Map<string, StagedBlob>();
  try {
    for (const name of ['index.json', ...found.map((blob) => `${BLOBS}/${blob}`)]) {
      files.set(name, await stageOwn(join(folder, name), name, blobs, signal));
    }
    return stagedArchive(files, new Map(), blobs);
  } catch (error) {
    for (const staged of files.values()) await blobs.discard(staged);
    throw error;
  }
}

async function stageOwn(
  path: string,
  name: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<StagedBlob> {
  const refused = (why: string, cause?: unknown) =>
    new SkerryError('image_invalid', `the layout is refused: "${name}" ${why}`, { cause });
  // Without O_NONBLOCK, a named pipe in the folder would hold this up for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (cause: NodeJS.ErrnoException) => {
      throw refused(cause.code === 'ELOOP' ? 'is a link' : `can not be read: ${cause.message}`, cause);
    },
  );
  try {
    if (!(await file.stat()).isFile()) throw refused('is no file');
    return await blobs.stage(file.createReadStream({ highWaterMark: 1024 * 1024, autoClose: false }), signal);
  } finally {
    await file.close();
  }
}
