/** GUID partition tables (UEFI specification 2.10, 5.3): the first, or the one at the end of the disk where the first is damaged. */
import * as zlib from 'node:zlib';
import { type DiskBytes, placeOf } from './disk-bytes.ts';
import type { Partition } from './partitions.ts';

const SIGNATURE = Buffer.from('EFI PART');
const HEADER_LIMIT_BYTES = 512;
const HEADER_LEAST_BYTES = 92;
/** The specification asks for room for 128; tables of more are rare, of more than this no tables. */
const ENTRY_LIMIT = 1024;
const ENTRY_LEAST_BYTES = 128;
const ENTRY_MOST_BYTES = 4096;
/** Of disks with sectors of 512 and of 4096 bytes. */
const SECTORS = [512, 4096] as const;

export const ESP_GUID = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
export const BIOS_BOOT_GUID = '21686148-6449-6e6f-744e-656564454649';
const UNUSED_GUID = '00000000-0000-0000-0000-000000000000';

/** The first three groups are little-endian (appendix A). */
function guidOf(bytes: Buffer): string {
  const hex = (from: number, to: number) => bytes.toString('hex', from, to);
  const turned = (from: number, to: number) =>
    Buffer.from(bytes.subarray(from, to)).reverse().toString('hex');
  return [turned(0, 4), turned(4, 6), turned(6, 8), hex(8, 10), hex(10, 16)].join('-');
}

const crc32 = (bytes: Buffer): number => zlib.crc32(bytes) >>> 0;

function tableAt(disk: DiskBytes, at: number, sectorBytes: number): Partition[] | undefined {
  const header = disk.read(at, HEADER_LIMIT_BYTES);
  if (!header?.subarray(0, 8).equals(SIGNATURE)) return undefined;
  const headerBytes = header.readUInt32LE(12);
  if (headerBytes < HEADER_LEAST_BYTES || headerBytes > HEADER_LIMIT_BYTES) return undefined;
  const summed = Buffer.from(header.subarray(0, headerBytes));
  summed.writeUInt32LE(0, 16);
  if (crc32(summed) !== header.readUInt32LE(16)) return undefined;
  const count = header.readUInt32LE(80);
  const entryBytes = header.readUInt32LE(84);
  if (count > ENTRY_LIMIT || entryBytes < ENTRY_LEAST_BYTES || entryBytes > ENTRY_MOST_BYTES)
    return undefined;
  const entriesAt = placeOf(header.readBigUInt64LE(72) * BigInt(sectorBytes));
  const table = entriesAt === undefined ? undefined : disk.read(entriesAt, count * entryBytes);
  if (!table || crc32(table) !== header.readUInt32LE(88)) return undefined;
  const partitions: Partition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(i * entryBytes, (i + 1) * entryBytes);
    const kind = guidOf(entry.subarray(0, 16));
    if (kind === UNUSED_GUID) continue;
    const first = entry.readBigUInt64LE(32);
    const last = entry.readBigUInt64LE(40);
    const startBytes = placeOf(first * BigInt(sectorBytes));
    const sizeBytes = last < first ? undefined : placeOf((last - first + 1n) * BigInt(sectorBytes));
    if (startBytes === undefined || sizeBytes === undefined) return undefined;
    const name = entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '');
    partitions.push({ number: i + 1, kind, ...(name !== '' && { name }), startBytes, sizeBytes });
  }
  return partitions;
}

/** Undefined: there is none, or none of the two that can be read. */
export function readGpt(disk: DiskBytes): Partition[] | undefined {
  for (const sectorBytes of SECTORS) {
    const last = Math.floor(disk.sizeBytes / sectorBytes) * sectorBytes - sectorBytes;
    const table = tableAt(disk, sectorBytes, sectorBytes) ?? tableAt(disk, last, sectorBytes);
    if (table) return table;
  }
  return undefined;
}
