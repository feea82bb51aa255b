/**
 * A look at a qcow2's header before anything opens it (QEMU's docs/interop/qcow2.txt): a disk from a stranger may name files
 * of the host as its backing file or as the file of its data, and QEMU would show them to the guest.
 */
import { open } from 'node:fs/promises';
import { SkerryError } from '@skerry/model';

const MAGIC = 0x514649fb; // "QFI\xfb"
const HEADER_BYTES = 104;
const EXTERNAL_DATA = 1n << 2n;

export interface Qcow2Header {
  readonly virtualSizeBytes: number;
}

/** Errors: image_invalid. */
export function readQcow2Header(header: Buffer): Qcow2Header {
  const invalid = (why: string) =>
    new SkerryError('image_invalid', `the disk is no qcow2 to be trusted: ${why}`);
  if (header.length < 72 || header.readUInt32BE(0) !== MAGIC) throw invalid('its header is not there');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw invalid(`version ${version}`);
  if (header.readBigUInt64BE(8) !== 0n)
    throw invalid('it names a backing file; convert it to one that stands alone (qemu-img convert)');
  if (header.readUInt32BE(32) !== 0) throw invalid('it is encrypted');
  if (version === 3) {
    if (header.length < HEADER_BYTES) throw invalid('its header is cut off');
    if ((header.readBigUInt64BE(72) & EXTERNAL_DATA) !== 0n)
      throw invalid('its data is in another file; convert it to one that stands alone (qemu-img convert)');
  }
  const size = header.readBigUInt64BE(24);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('it claims an impossible size');
  return { virtualSizeBytes: Number(size) };
}

/** Errors: image_invalid. */
export async function checkQcow2(path: string): Promise<Qcow2Header> {
  const file = await open(path);
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    const { bytesRead } = await file.read(header, 0, HEADER_BYTES, 0);
    return readQcow2Header(header.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
