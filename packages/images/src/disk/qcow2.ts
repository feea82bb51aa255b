/**
 * The header of a qcow2 disk (QEMU's docs/interop/qcow2.txt), read strictly: what names another file, is encrypted, damaged
 * or cut off is refused before any program opens it.
 */
import { type DiskBytes, invalid, isInside, placeOf, VIRTUAL_SIZE_LIMIT_BYTES } from './disk-bytes.ts';

export const QCOW2_MAGIC = 0x514649fb; // "QFI\xfb"
const V2_BYTES = 72;
const V3_BYTES = 104;
const CORRUPT = 1n << 1n;
const EXTERNAL_DATA = 1n << 2n;
const COMPRESSION_TYPE = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;
/** dirty, corrupt, external data, compression type, extended L2: what QEMU 7.2 knows. */
const KNOWN_INCOMPATIBLE = 0x1fn;
const EXTENSION_LIMIT = 64;
const DATA_FILE_NAME = 0x44415441;
const ENCRYPTION = 0x0537be77;
/** As in QEMU (block/qcow2.h): 32 MiB of level 1 table, 8 MiB of refcount table, 64 MiB of snapshots. */
const L1_LIMIT_ENTRIES = (32 * 1024 * 1024) / 8;
const REFCOUNT_TABLE_LIMIT_BYTES = 8 * 1024 * 1024;
const SNAPSHOT_LIMIT = 1024;

export interface Qcow2 {
  readonly version: 2 | 3;
  readonly virtualSizeBytes: number;
  readonly clusterBytes: number;
  readonly l1At: number;
  readonly l1Entries: number;
  /** Entries of the level 2 tables have 16 bytes, the second half says which parts of a cluster are there. */
  readonly extendedL2: boolean;
  /** How compressed clusters are: `zlib` is known here. */
  readonly compression: 'zlib' | 'other';
  readonly snapshots: number;
}

/** Errors: image_invalid. */
export function readQcow2(file: DiskBytes): Qcow2 {
  const refuse = (why: string): never => {
    throw invalid(`the qcow2 disk is refused: ${why}`);
  };
  const short = file.read(0, V2_BYTES) ?? refuse('its header is cut off');
  if (short.readUInt32BE(0) !== QCOW2_MAGIC) refuse('its magic is not there');
  const version = short.readUInt32BE(4);
  if (version !== 2 && version !== 3) return refuse(`it has the version ${version}, 2 and 3 are known`);
  if (short.readBigUInt64BE(8) !== 0n || short.readUInt32BE(16) !== 0)
    refuse('it names a backing file; make one that stands alone: qemu-img convert -O qcow2 OLD NEW');
  if (short.readUInt32BE(32) !== 0) refuse('it is encrypted; make one that is not: qemu-img convert');

  const clusterBits = short.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) refuse(`clusters of 2^${clusterBits} bytes are not known`);
  const clusterBytes = 2 ** clusterBits;
  const virtualSizeBytes = placeOf(short.readBigUInt64BE(24)) ?? refuse('it claims an impossible size');
  if (virtualSizeBytes === 0) refuse('it has the size 0');
  if (virtualSizeBytes > VIRTUAL_SIZE_LIMIT_BYTES)
    refuse(`it claims ${virtualSizeBytes} bytes, more than ${VIRTUAL_SIZE_LIMIT_BYTES}`);

  const features = version === 3 ? readVersion3(file, clusterBytes, refuse) : 0n;
  const extendedL2 = (features & EXTENDED_L2) !== 0n;
  const compression = (features & COMPRESSION_TYPE) === 0n ? 'zlib' : 'other';
  if (extendedL2 && clusterBits < 14) refuse('its clusters are too small for extended tables');
  const l1Entries = short.readUInt32BE(36);
  const bytesOfTable = (clusterBytes / (extendedL2 ? 16 : 8)) * clusterBytes;
  const needed = Math.ceil(virtualSizeBytes / bytesOfTable);
  if (l1Entries < needed || l1Entries > L1_LIMIT_ENTRIES)
    refuse(`its level 1 table has ${l1Entries} entries, its size needs ${needed}`);
  /** A table has to begin with a cluster and end in the file. */
  const table = (at: bigint, length: number, what: string): number => {
    const place = placeOf(at);
    if (place === undefined || place % clusterBytes !== 0 || place === 0)
      return refuse(`its ${what} begins at ${at}, which is no cluster`);
    return isInside(file.sizeBytes, place, length)
      ? place
      : refuse(`the file is cut off: its ${what} is missing`);
  };
  const l1At = table(short.readBigUInt64BE(40), l1Entries * 8, 'level 1 table');
  const refcountBytes = short.readUInt32BE(56) * clusterBytes;
  if (refcountBytes === 0 || refcountBytes > REFCOUNT_TABLE_LIMIT_BYTES)
    refuse(`its table of reference counts has ${refcountBytes} bytes`);
  table(short.readBigUInt64BE(48), refcountBytes, 'table of reference counts');
  const snapshots = short.readUInt32BE(60);
  if (snapshots > SNAPSHOT_LIMIT) refuse(`it has ${snapshots} snapshots, more than ${SNAPSHOT_LIMIT}`);
  if (snapshots > 0) table(short.readBigUInt64BE(64), snapshots * 40, 'table of snapshots');
  return { version, virtualSizeBytes, clusterBytes, l1At, l1Entries, extendedL2, compression, snapshots };
}

/** Returns its incompatible features. */
function readVersion3(file: DiskBytes, clusterBytes: number, refuse: (why: string) => never): bigint {
  const header = file.read(0, V3_BYTES) ?? refuse('its header is cut off');
  const features = header.readBigUInt64BE(72);
  if ((features & EXTERNAL_DATA) !== 0n)
    refuse('its data is in another file; make one that stands alone: qemu-img convert -O qcow2 OLD NEW');
  if ((features & CORRUPT) !== 0n) refuse('it is marked as damaged: mend it with qemu-img check -r all');
  if ((features & ~KNOWN_INCOMPATIBLE) !== 0n) refuse(`it has features that are not known (${features})`);
  if (header.readUInt32BE(96) > 6) refuse('its reference counts are wider than any');
  const headerBytes = header.readUInt32BE(100);
  if (headerBytes < V3_BYTES || headerBytes % 8 !== 0 || headerBytes > clusterBytes)
    refuse(`its header claims ${headerBytes} bytes`);
  let at = headerBytes;
  for (let count = 0; at + 8 <= clusterBytes; count++) {
    const head = file.read(at, 8);
    if (!head) break; // a small file ends here: no extension is there
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    if (type === 0) break;
    if (type === DATA_FILE_NAME) refuse('it names another file for its data');
    if (type === ENCRYPTION) refuse('it is encrypted; make one that is not: qemu-img convert');
    if (count >= EXTENSION_LIMIT || at + 8 + length > clusterBytes)
      refuse('the extensions of its header are longer than the header');
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return features;
}
