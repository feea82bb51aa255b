/** First file systems into the store, as they are: the kernel unpacks them, the host does not. */
import { stat } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import { withFileBytes } from '../unikernel/byte-source.ts';
import { type InitramfsFacts, type Packing, readInitramfs } from './cpio.ts';

/** All of it has to fit into a guest's memory, twice while it is unpacked. */
const LIMIT_BYTES = 1024 ** 3;

/** `packing`: of a file whose first archive is packed already. Errors: image_invalid, disk_full, cancelled. */
export async function stageInitramfs(
  path: string,
  packing: Packing,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<{ record: ImageRecord; staged: StagedBlob }> {
  const { size } = await stat(path);
  if (size > LIMIT_BYTES)
    throw new SkerryError('image_invalid', `the initramfs has ${size} bytes, more than ${LIMIT_BYTES}`);
  const told: InitramfsFacts | Pick<InitramfsFacts, 'format' | 'packing'> =
    packing === 'none' ? withFileBytes(path, readInitramfs) : { format: 'cpio', packing };
  const staged = await blobs.stageFile(path, signal);
  const { digest, sizeBytes } = staged;
  const source = 'import: initramfs';
  const facts = { kind: 'initramfs', digest, sizeBytes, source, facts: { ...told } } as const;
  return { record: { facts, blobs: [digest] }, staged };
}
