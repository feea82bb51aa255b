/** Microsoft's older disks (Virtual Hard Disk Image Format 1.0): a footer, for growing ones a header and a table. */
import { type DiskBytes, invalid, isInside, placeOf, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';
import type { ForeignDisk } from './vmdk.ts';

export const VHD_COOKIE = Buffer.from('conectix');
export const VHD_FOOTER_BYTES = 512;
const SPARSE_COOKIE = Buffer.from('cxsparse');
const SPARSE_BYTES = 1024;
const FIXED = 2;
const DYNAMIC = 3;
const DIFFERENCING = 4;
/** The format ends at 2040 GiB. */
const BLOCK_LEAST_BYTES = 512;
const BLOCK_MOST_BYTES = 256 * 1024 * 1024;

const refuse = (why: string): never => {
  throw invalid(`the vhd disk is refused: ${why}`);
};

/** One's complement of the sum of all bytes but the sum's own. */
function sumOf(bytes: Buffer, at: number): number {
  let sum = 0;
  for (const [i, byte] of bytes.entries()) if (i < at || i >= at + 4) sum += byte;
  return ~sum >>> 0;
}

function checkSparse(file: DiskBytes, footer: Buffer, sizeBytes: number): void {
  const at = placeOf(footer.readBigUInt64BE(16)) ?? refuse('it claims an impossible place');
  const header = file.read(at, SPARSE_BYTES) ?? refuse('the file is cut off: its header is missing');
  if (!header.subarray(0, 8).equals(SPARSE_COOKIE)) refuse('its header is not there');
  if (header.readUInt32BE(36) !== sumOf(header, 36)) refuse('its header is damaged: the sum is wrong');
  // The parent's name and eight places where it might lie.
  if (
    header.subarray(40, 56).some((byte) => byte !== 0) ||
    header.subarray(64, 768).some((byte) => byte !== 0)
  )
    refuse('it names a parent; make one that stands alone: qemu-img convert');
  const blockBytes = header.readUInt32BE(32);
  if (
    blockBytes < BLOCK_LEAST_BYTES ||
    blockBytes > BLOCK_MOST_BYTES ||
    (blockBytes & (blockBytes - 1)) !== 0
  )
    refuse(`blocks of ${blockBytes} bytes are not known`);
  const entries = header.readUInt32BE(28);
  if (entries < Math.floor(sizeBytes / blockBytes))
    refuse(`its table has ${entries} entries, too few for its size`);
  const tableAt = placeOf(header.readBigUInt64BE(16)) ?? refuse('it claims an impossible place');
  if (!isInside(file.sizeBytes, tableAt, entries * 4)) refuse('the file is cut off: its table is missing');
}

/** Errors: image_invalid. */
export function readVhd(file: DiskBytes): ForeignDisk {
  const last = file.read(file.sizeBytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES);
  const footer = last?.subarray(0, 8).equals(VHD_COOKIE)
    ? last
    : refuse('the file is cut off: its footer is missing');
  if (footer.readUInt32BE(64) !== sumOf(footer, 64)) refuse('its footer is damaged: the sum is wrong');
  if (footer.readUInt32BE(12) >>> 16 !== 1) refuse('its version is not known');
  const virtualSizeBytes = placeOf(footer.readBigUInt64BE(48)) ?? refuse('it claims an impossible size');
  if (virtualSizeBytes === 0) refuse('it has the size 0');
  if (virtualSizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
    refuse(`it claims ${virtualSizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);
  const type = footer.readUInt32BE(60);
  if (type === DIFFERENCING)
    refuse('it holds only the changes to another disk; make one that stands alone: qemu-img convert');
  if (type === DYNAMIC) {
    // Converters take the copy at the beginning, so both have to say the same.
    if (!file.read(0, VHD_FOOTER_BYTES)?.equals(footer)) refuse('its first and last sector differ');
    checkSparse(file, footer, virtualSizeBytes);
  } else if (type !== FIXED) refuse(`it is of the type ${type}, 2 and 3 are known`);
  else if (file.sizeBytes - VHD_FOOTER_BYTES < virtualSizeBytes)
    refuse(
      `the file is cut off: it needs ${virtualSizeBytes + VHD_FOOTER_BYTES} bytes and has ${file.sizeBytes}`,
    );
  return { virtualSizeBytes };
}
