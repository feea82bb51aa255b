/**
 * Root file systems into the store. An archive is kept as it came, compression included: its digest is that of the file,
 * and unpacking reads every compression that is taken. A folder is packed first, as a tar with zstd.
 */
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import { type Compression, compressionOfFile } from '../content/compression.ts';
import type { ImageRecord } from '../content/records.ts';
import type { DiskImport } from '../disk/import-disk.ts';
import { packRootfs } from '../folder.ts';
import { examineRootfs } from './examine.ts';

async function recordOf(
  staged: StagedBlob,
  compression: Compression,
  source: string,
  { signal, progress }: DiskImport,
): Promise<ImageRecord> {
  const { facts, arch } = await examineRootfs(staged.path, compression, signal, progress);
  const { digest, sizeBytes } = staged;
  return {
    facts: {
      kind: 'rootfs',
      digest,
      sizeBytes,
      ...(arch && { arch }),
      source,
      facts: { format: 'tar', ...facts },
    },
    blobs: [digest],
  };
}

/** Errors: image_invalid naming the entry, disk_full, host_missing, cancelled. */
export async function stageRootfs(
  path: string,
  from: 'archive' | 'folder',
  blobs: BlobStore,
  options: DiskImport,
): Promise<{ record: ImageRecord; staged: StagedBlob }> {
  const { signal } = options;
  const staged =
    from === 'archive'
      ? await blobs.stageFile(path, signal)
      : await blobs.stage(packRootfs(path, signal), signal);
  try {
    const compression = await compressionOfFile(staged.path);
    const what = from === 'folder' ? 'folder' : `tar${compression === 'none' ? '' : `, ${compression}`}`;
    return {
      record: await recordOf(staged, compression, `import: root file system (${what})`, options),
      staged,
    };
  } catch (error) {
    await blobs.discard(staged);
    throw error;
  }
}
