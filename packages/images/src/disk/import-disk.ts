/**
 * Disks into the store. qcow2 and raw are kept as they are (raw with holes where it has zeros, so its digest is that of the
 * file and it takes no more than it holds); VMware's, VirtualBox's and Microsoft's become qcow2. What is stored is looked
 * into once more: the file that was given may have changed meanwhile.
 */
import { rm, stat } from 'node:fs/promises';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import type { ImageFacts } from '../port.ts';
import { convertDisk, type ForeignFormat } from './convert.ts';
import type { DiskBytes } from './disk-bytes.ts';
import { withDiskFile } from './disk-bytes.ts';
import { type DiskFormat, type InspectedDisk, inspectDisk } from './inspect-disk.ts';
import { readVdi } from './vdi.ts';
import { readVhd } from './vhd.ts';
import { readVhdx } from './vhdx.ts';
import { type ForeignDisk, readVmdk } from './vmdk.ts';

export type AnyDiskFormat = DiskFormat | ForeignFormat;

const READERS: Readonly<Record<ForeignFormat, (file: DiskBytes) => ForeignDisk>> = {
  vmdk: readVmdk,
  vdi: readVdi,
  vhdx: readVhdx,
  vpc: readVhd,
};

export interface DiskImport {
  /** What the file was before it was unpacked: `xz`. */
  readonly unpackedFrom?: string;
  readonly signal: AbortSignal;
  readonly progress: (done: number) => void;
}

const isForeign = (format: AnyDiskFormat): format is ForeignFormat => format !== 'raw' && format !== 'qcow2';

function factsOf(disk: InspectedDisk, format: DiskFormat): Pick<ImageFacts, 'kind' | 'arch' | 'facts'> {
  const { arch, unikernel, ...facts } = disk;
  const named = { ...(arch && { arch }) };
  if (!unikernel) return { kind: 'disk', ...named, facts: { format, ...facts } };
  // As the kernel inspector puts it, so that the unikernel runtime can tell how it boots.
  const boot = { format: 'disk', diskFormat: format, boot: 'disk', machines: ['q35', 'pc'], runnable: true };
  return { kind: 'unikernel', arch: 'amd64', facts: { ...boot, ...unikernel, ...facts } };
}

async function stageConverted(
  path: string,
  format: ForeignFormat,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<StagedBlob> {
  const { virtualSizeBytes } = withDiskFile(path, READERS[format]);
  const resultPath = blobs.stagingPath();
  const roomBytes = await blobs.roomBytes();
  await convertDisk(path, format, {
    copyPath: blobs.stagingPath(),
    resultPath,
    virtualSizeBytes,
    roomBytes,
    signal,
  });
  try {
    return await blobs.stageFile(resultPath, signal, { sparse: true });
  } finally {
    await rm(resultPath, { force: true });
  }
}

/** Errors: image_invalid, disk_full, host_missing, host_timeout, cancelled. */
export async function stageDisk(
  path: string,
  format: AnyDiskFormat,
  blobs: BlobStore,
  { unpackedFrom, signal, progress }: DiskImport,
): Promise<{ record: ImageRecord; staged: StagedBlob }> {
  const stored = isForeign(format) ? 'qcow2' : format;
  if (!isForeign(format)) withDiskFile(path, (file) => inspectDisk(file, format)); // before it is copied
  const staged = isForeign(format)
    ? await stageConverted(path, format, blobs, signal)
    : await blobs.stageFile(path, signal, { sparse: true, progress });
  try {
    const found = factsOf(
      withDiskFile(staged.path, (file) => inspectDisk(file, stored)),
      stored,
    );
    const importedFrom = unpackedFrom === undefined ? format : `${format}, compressed with ${unpackedFrom}`;
    const { blocks } = await stat(staged.path);
    const facts: ImageFacts = {
      ...found,
      digest: staged.digest,
      sizeBytes: staged.sizeBytes,
      source: `import: disk (${importedFrom})`,
      facts: { ...found.facts, importedFrom, allocatedBytes: blocks * 512 },
    };
    return { record: { facts, blobs: [staged.digest] }, staged };
  } catch (error) {
    await blobs.discard(staged);
    throw error;
  }
}
