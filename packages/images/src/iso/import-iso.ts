/** ISO images into the store, as they are. */
import { stat } from 'node:fs/promises';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import { withDiskFile } from '../disk/disk-bytes.ts';
import type { DiskImport } from '../disk/import-disk.ts';
import { readIso } from './iso.ts';

/** Errors: image_invalid, disk_full, cancelled. */
export async function stageIso(
  path: string,
  blobs: BlobStore,
  { unpackedFrom, signal, progress }: DiskImport,
): Promise<{ record: ImageRecord; staged: StagedBlob }> {
  withDiskFile(path, readIso); // before it is copied
  const staged = await blobs.stageFile(path, signal, { sparse: true, progress });
  try {
    const { arch, ...facts } = withDiskFile(staged.path, readIso);
    const { digest, sizeBytes } = staged;
    const { blocks } = await stat(staged.path);
    const source = `import: ISO image${unpackedFrom === undefined ? '' : ` (compressed with ${unpackedFrom})`}`;
    const told = { format: 'raw', virtualSizeBytes: sizeBytes, allocatedBytes: blocks * 512, ...facts };
    return {
      record: {
        facts: { kind: 'iso', digest, sizeBytes, ...(arch && { arch }), source, facts: told },
        blobs: [digest],
      },
      staged,
    };
  } catch (error) {
    await blobs.discard(staged);
    throw error;
  }
}
