/** VirtualBox's disks (the header of VDI 1.1 as in QEMU's block/vdi.c), single files that stand alone. */
import { type DiskBytes, invalid, isInside, placeOf, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';
import type { ForeignDisk } from './vmdk.ts';

export const VDI_SIGNATURE = 0xbeda107f;
export const VDI_SIGNATURE_AT = 0x40;
const HEADER_BYTES = 512;
const DYNAMIC = 1;
const FIXED = 2;
const BLOCK_BYTES = 1024 * 1024;
const NO_BLOCK = 0xfffffffe; // and 0xffffffff

const refuse = (why: string): never => {
  throw invalid(`the vdi disk is refused: ${why}`);
};

/** Errors: image_invalid. */
export function readVdi(file: DiskBytes): ForeignDisk {
  const header = file.read(0, HEADER_BYTES) ?? refuse('its header is cut off');
  if (header.readUInt32LE(VDI_SIGNATURE_AT) !== VDI_SIGNATURE) refuse('its signature is not there');
  const version = header.readUInt32LE(0x44);
  if (version !== 0x00010001)
    refuse(`it has the version ${version >>> 16}.${version & 0xffff}, 1.1 is known`);
  const type = header.readUInt32LE(0x4c);
  if (type !== DYNAMIC && type !== FIXED)
    refuse('it holds only the changes to another disk; make one that stands alone: qemu-img convert');
  const isUuidSet = (at: number) => header.subarray(at, at + 16).some((byte) => byte !== 0);
  if (isUuidSet(0x1a8) || isUuidSet(0x1b8))
    refuse('it names a parent; make one that stands alone: qemu-img convert');
  if (header.readUInt32LE(0x168) !== 512 || header.readUInt32LE(0x178) !== BLOCK_BYTES)
    refuse('its sectors or blocks have a size that is not known');
  const virtualSizeBytes = placeOf(header.readBigUInt64LE(0x170)) ?? refuse('it claims an impossible size');
  if (virtualSizeBytes === 0) refuse('it has the size 0');
  if (virtualSizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
    refuse(`it claims ${virtualSizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);
  const blocks = header.readUInt32LE(0x180);
  const allocated = header.readUInt32LE(0x184);
  if (blocks < Math.ceil(virtualSizeBytes / BLOCK_BYTES) || allocated > blocks)
    refuse(`it claims ${blocks} blocks, ${allocated} of them used, for ${virtualSizeBytes} bytes`);
  const mapAt = header.readUInt32LE(0x154);
  const dataAt = header.readUInt32LE(0x158);
  if (mapAt < HEADER_BYTES || !isInside(file.sizeBytes, mapAt, blocks * 4))
    refuse('the file is cut off: its map is missing');
  if (dataAt < mapAt + blocks * 4) refuse('its map and its data overlap');
  if (!isInside(file.sizeBytes, dataAt, allocated * BLOCK_BYTES))
    refuse(
      `the file is cut off: it needs ${dataAt + allocated * BLOCK_BYTES} bytes and has ${file.sizeBytes}`,
    );
  const map = file.read(mapAt, blocks * 4) ?? refuse('the file is cut off: its map is missing');
  for (let i = 0; i < blocks; i++) {
    const block = map.readUInt32LE(i * 4);
    if (block < NO_BLOCK && block >= allocated) refuse(`its map leads to block ${block} of ${allocated}`);
  }
  return { virtualSizeBytes };
}
