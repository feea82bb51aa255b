/** Disks for tests, written here byte by byte: partition tables and what lies in the partitions. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';

const SECTOR_BYTES = 512;
const MIB = 1024 * 1024;

export interface TestPartition {
  /** Of an MBR a number, of a GPT a GUID. */
  readonly kind: number | string;
  readonly content: Buffer;
  readonly name?: string;
  readonly active?: boolean;
}

export interface TestDisk {
  readonly scheme: 'mbr' | 'gpt';
  readonly partitions: readonly TestPartition[];
  readonly bootCode?: boolean;
}

const ENTRIES = 128;
const ENTRY_BYTES = 128;

function guidBytes(text: string): Buffer {
  const [a, b, c, d, e] = text.split('-') as [string, string, string, string, string];
  const turned = (hex: string) => Buffer.from(hex, 'hex').reverse();
  return Buffer.concat([turned(a), turned(b), turned(c), Buffer.from(d + e, 'hex')]);
}

function writeGpt(
  disk: Buffer,
  places: readonly { partition: TestPartition; start: number; end: number }[],
): void {
  const table = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  for (const [i, { partition, start, end }] of places.entries()) {
    const entry = table.subarray(i * ENTRY_BYTES);
    guidBytes(String(partition.kind)).copy(entry, 0);
    guidBytes(`0000000${i}-1111-2222-3333-444444444444`).copy(entry, 16);
    entry.writeBigUInt64LE(BigInt(start), 32);
    entry.writeBigUInt64LE(BigInt(end - 1), 40);
    entry.write(partition.name ?? '', 56, 'utf16le');
  }
  const last = disk.length / SECTOR_BYTES - 1;
  const header = (own: number, other: number, entriesAt: number) => {
    const bytes = Buffer.alloc(92);
    bytes.write('EFI PART', 0);
    bytes.writeUInt32LE(0x10000, 8);
    bytes.writeUInt32LE(92, 12);
    bytes.writeBigUInt64LE(BigInt(own), 24);
    bytes.writeBigUInt64LE(BigInt(other), 32);
    bytes.writeBigUInt64LE(34n, 40);
    bytes.writeBigUInt64LE(BigInt(last - 33), 48);
    bytes.writeBigUInt64LE(BigInt(entriesAt), 72);
    bytes.writeUInt32LE(ENTRIES, 80);
    bytes.writeUInt32LE(ENTRY_BYTES, 84);
    bytes.writeUInt32LE(zlib.crc32(table), 88);
    bytes.writeUInt32LE(zlib.crc32(bytes), 16);
    bytes.copy(disk, own * SECTOR_BYTES);
    table.copy(disk, entriesAt * SECTOR_BYTES);
  };
  header(1, last, 2);
  header(last, 1, last - 32);
}

/** Partitions lie one behind the other from 1 MiB on; 1 MiB stays free at the end. */
export function buildDisk({ scheme, partitions, bootCode = false }: TestDisk): Buffer {
  let next = MIB;
  const places = partitions.map((partition) => {
    const start = next;
    next += Math.ceil(partition.content.length / MIB) * MIB;
    return {
      partition,
      start: start / SECTOR_BYTES,
      end: start / SECTOR_BYTES + partition.content.length / SECTOR_BYTES,
    };
  });
  const disk = Buffer.alloc(next + MIB);
  if (bootCode) disk.fill(0xeb, 0, 100);
  disk.writeUInt16LE(0xaa55, 510);
  for (const { partition, start } of places) partition.content.copy(disk, start * SECTOR_BYTES);
  const entry = (i: number, kind: number, start: number, sectors: number, active = false) => {
    const at = 446 + i * 16;
    disk[at] = active ? 0x80 : 0;
    disk[at + 4] = kind;
    disk.writeUInt32LE(start, at + 8);
    disk.writeUInt32LE(sectors, at + 12);
  };
  if (scheme === 'gpt') {
    entry(0, 0xee, 1, disk.length / SECTOR_BYTES - 1);
    writeGpt(disk, places);
  } else
    for (const [i, { partition, start, end }] of places.entries())
      entry(i, Number(partition.kind), start, end - start, partition.active);
  return disk;
}

function made(sizeBytes: number, make: (path: string) => void): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-part-'));
  const path = join(folder, 'part');
  try {
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    make(path);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A FAT file system with empty files of these names, in folders. */
export const fatPartition = (sizeMib: number, files: readonly string[], bits: 12 | 16 | 32 = 12): Buffer =>
  made(sizeMib * MIB, (path) => {
    execFileSync('mkfs.vfat', ['-F', String(bits), '-n', 'ESP', path]);
    const folders = new Set(
      files.flatMap((name) =>
        name
          .split('/')
          .slice(0, -1)
          .map((_, i, all) => all.slice(0, i + 1).join('/')),
      ),
    );
    for (const folder of folders) execFileSync('mmd', ['-i', path, `::/${folder}`]);
    for (const name of files) execFileSync('mcopy', ['-i', path, '/dev/null', `::/${name}`]);
  });

export const ext4Partition = (sizeMib: number, label = 'root'): Buffer =>
  made(sizeMib * MIB, (path) => execFileSync('mkfs.ext4', ['-q', '-F', '-L', label, path]));

/** With a mark at its beginning, and otherwise empty. */
export function markedPartition(sizeMib: number, mark: Buffer | string): Buffer {
  const bytes = Buffer.alloc(sizeMib * MIB);
  Buffer.from(mark as string, typeof mark === 'string' ? 'latin1' : undefined).copy(bytes);
  return bytes;
}
