/**
 * From a file or folder that somebody wants to import to what it holds, staged and checked but not yet kept. Each kind has
 * its room; what is compressed is unpacked first, unless it is an archive that can be read as it is.
 */
import { stat } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from './content/blob-store.ts';
import { type Compression, unpackedBytes } from './content/compression.ts';
import type { ImageRecord } from './content/records.ts';
import { stageDisk } from './disk/import-disk.ts';
import { folderKind } from './folder.ts';
import { stageInitramfs } from './initramfs/import-initramfs.ts';
import { stageIso } from './iso/import-iso.ts';
import { type StagedArchive, stageTar } from './oci/archive.ts';
import { keepArchive, readArchive } from './oci/import-archive.ts';
import { stageFolder } from './oci/layout-folder.ts';
import { UNPACKED_LIMIT_BYTES } from './oci/unpacked.ts';
import { type Recognised, recognise, recogniseContent } from './recognise.ts';
import { archiveKind } from './rootfs/archive-kind.ts';
import { stageRootfs } from './rootfs/import-rootfs.ts';
import { stageKernel } from './unikernel/stage-kernel.ts';

/** What a file turned out to be, not yet kept. */
export interface Found {
  readonly images: readonly { readonly reference: string | undefined; readonly record: ImageRecord }[];
  keep(): Promise<void>;
  discard(): Promise<void>;
}

interface Look {
  readonly blobs: BlobStore;
  readonly signal: AbortSignal;
  readonly progress: (done: number) => void;
}

function oneBlob({ record, staged }: { record: ImageRecord; staged: StagedBlob }, blobs: BlobStore): Found {
  return {
    images: [{ reference: undefined, record }],
    keep: () => blobs.commit(staged),
    discard: () => blobs.discard(staged),
  };
}

async function container(archive: StagedArchive, { blobs, signal }: Look): Promise<Found> {
  try {
    const images = await readArchive(archive, signal);
    return { images, keep: () => keepArchive(archive, images, blobs), discard: () => archive.discard() };
  } catch (error) {
    await archive.discard();
    throw error;
  }
}

async function lookAtFolder(path: string, look: Look): Promise<Found> {
  const { blobs, signal } = look;
  if ((await folderKind(path)) === 'rootfs')
    return oneBlob(await stageRootfs(path, 'folder', blobs, look), blobs);
  return container(await stageFolder(path, blobs, signal), look);
}

async function lookAtTar(path: string, compression: Compression, look: Look): Promise<Found> {
  const { blobs, signal, progress } = look;
  if ((await archiveKind(path, compression, signal)) === 'rootfs')
    return oneBlob(await stageRootfs(path, 'archive', blobs, look), blobs);
  return container(await stageTar(path, blobs, signal, progress), look);
}

async function lookAtOne(path: string, what: Recognised, look: Look, unpackedFrom?: string): Promise<Found> {
  const { blobs, signal } = look;
  const options = { ...look, ...(unpackedFrom !== undefined && { unpackedFrom }) };
  switch (what.what) {
    case 'folder':
      return lookAtFolder(path, look);
    case 'tar':
      return lookAtTar(path, 'none', look);
    case 'kernel':
      return oneBlob(await stageKernel(path, blobs, signal), blobs);
    case 'initramfs':
      return oneBlob(await stageInitramfs(path, what.packing, blobs, signal), blobs);
    case 'iso':
      return oneBlob(await stageIso(path, blobs, options), blobs);
    case 'disk':
      return oneBlob(await stageDisk(path, what.format, blobs, options), blobs);
    case 'compressed':
      return lookAtCompressed(path, what.compression, look);
  }
}

/** The first bytes of what a file unpacks to. */
async function unpackedHead(path: string, compression: Compression, signal: AbortSignal): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of unpackedBytes(path, compression, 'the file', signal)) {
    pieces.push(piece);
    length += piece.length;
    if (length >= 512) break;
  }
  return Buffer.concat(pieces);
}

/** A small file may unpack to more than any disk holds. */
async function* bounded(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let sizeBytes = 0;
  for await (const piece of bytes) {
    sizeBytes += piece.length;
    if (sizeBytes > UNPACKED_LIMIT_BYTES)
      throw new SkerryError('image_invalid', `the file unpacks to more than ${UNPACKED_LIMIT_BYTES} bytes`);
    yield piece;
  }
}

async function lookAtCompressed(
  path: string,
  compression: Exclude<Compression, 'none'>,
  look: Look,
): Promise<Found> {
  const { blobs, signal, progress } = look;
  const head = await unpackedHead(path, compression, signal).catch((error) => {
    if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `the file can not be unpacked: ${(error as Error).message}`, {
      cause: error,
    });
  });
  const what = recogniseContent(head, Buffer.alloc(0))?.what;
  if (what === 'tar') return lookAtTar(path, compression, look);
  if (what === 'initramfs') return oneBlob(await stageInitramfs(path, compression, blobs, signal), blobs);
  const bytes = unpackedBytes(path, compression, 'the file', signal, progress);
  const unpacked = await blobs.stage(bounded(bytes), signal, { sparse: true }).catch((error) => {
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `the file can not be unpacked: ${(error as Error).message}`, {
      cause: error,
    });
  });
  try {
    const inside = await recognise(unpacked.path);
    if (inside.what === 'compressed')
      throw new SkerryError('image_invalid', 'the file is compressed twice: unpack it first');
    return await lookAtOne(unpacked.path, inside, { ...look, progress: () => undefined }, compression);
  } finally {
    await blobs.discard(unpacked);
  }
}

/** Errors: image_not_found, image_invalid, image_digest_mismatch, unsupported, disk_full, host_missing, cancelled. */
export async function lookAt(
  path: string,
  blobs: BlobStore,
  signal: AbortSignal,
  progress: (done: number, total: number) => void,
): Promise<Found> {
  const what = await recognise(path);
  const { size } = await stat(path);
  return lookAtOne(path, what, { blobs, signal, progress: (done) => progress(done, size) });
}
