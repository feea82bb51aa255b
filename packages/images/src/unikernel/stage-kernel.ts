/** A kernel file on its way into the store: looked at first, taken when it is a unikernel of a family that is known. */
import { stat } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import { withFileBytes } from './byte-source.ts';
import { inspectKernel } from './inspect.ts';

/** Unikernels are small: a file of this size is something else. */
const KERNEL_LIMIT_BYTES = 256 * 1024 * 1024;

/** Errors: image_invalid with what the file is instead, disk_full, cancelled. */
export async function stageKernel(
  path: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<{ record: ImageRecord; staged: StagedBlob }> {
  const { size } = await stat(path);
  if (size > KERNEL_LIMIT_BYTES)
    throw new SkerryError('image_invalid', `the kernel has ${size} bytes, more than ${KERNEL_LIMIT_BYTES}`);
  const kernel = withFileBytes(path, inspectKernel);
  const staged = await blobs.stageFile(path, signal);
  const { digest, sizeBytes } = staged;
  const { arch } = kernel;
  const facts = {
    kind: 'unikernel',
    digest,
    sizeBytes,
    arch,
    source: 'import: kernel',
    facts: { ...kernel },
  } as const;
  return { record: { facts, blobs: [digest] }, staged };
}
