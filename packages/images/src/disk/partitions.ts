/**
 * The partitions of a disk, from its MBR (with the chain of logical ones) or GPT (UEFI specification 2.10, chapter 5). A table
 * that says more than the disk has tells that the disk was cut off.
 */
import { type DiskBytes, invalid, partOf } from './disk-bytes.ts';
import { type FileSystem, fileSystemOf } from './file-system.ts';
import { readGpt } from './gpt.ts';

export interface Partition extends Partial<FileSystemFacts> {
  /** As the kernel counts them: logical ones of an MBR from 5. */
  readonly number: number;
  /** Of a GPT a GUID, of an MBR `0x83`. */
  readonly kind: string;
  readonly name?: string;
  readonly startBytes: number;
  readonly sizeBytes: number;
  /** The one that an MBR's boot code starts. */
  readonly active?: true;
}
interface FileSystemFacts {
  readonly fileSystem: string;
  readonly label: string;
}

export interface PartitionTable {
  /** `unknown`: its beginning is compressed in a way that is not read here. */
  readonly scheme: 'mbr' | 'gpt' | 'none' | 'unknown';
  readonly partitions: readonly Partition[];
  /** There is boot code in the first sector. */
  readonly bootCode: boolean;
}

const SECTOR_BYTES = 512;
const BOOT_CODE_BYTES = 440;
const PROTECTIVE = 0xee;
const EXTENDED = new Set([0x05, 0x0f, 0x85]);
/** Linux has numbers for no more on most of its disks. */
const LOGICAL_LIMIT = 60;

interface Entry {
  readonly active: number;
  readonly kind: number;
  readonly start: number;
  readonly sectors: number;
}

function entriesOf(sector: Buffer): Entry[] {
  return [446, 462, 478, 494].map((at) => ({
    active: sector[at]!,
    kind: sector[at + 4]!,
    start: sector.readUInt32LE(at + 8),
    sectors: sector.readUInt32LE(at + 12),
  }));
}
const isSigned = (sector: Buffer) => sector.readUInt16LE(510) === 0xaa55;
/** Boot sectors of file systems carry the same signature; their table would be code. */
const isTable = (entries: readonly Entry[]) =>
  entries.every(({ active }) => active === 0 || active === 0x80) &&
  entries.every(({ kind, sectors, start }) => kind === 0 || (sectors > 0 && start > 0)) &&
  entries.some(({ kind }) => kind !== 0);

function* logical(disk: DiskBytes, extended: Entry): Generator<Entry> {
  const seen = new Set<number>();
  let next = extended.start;
  while (seen.size < LOGICAL_LIMIT && !seen.has(next)) {
    seen.add(next);
    const sector = disk.read(next * SECTOR_BYTES, SECTOR_BYTES);
    if (!sector || !isSigned(sector)) return;
    const [own, following] = entriesOf(sector);
    if (own!.kind !== 0 && own!.sectors > 0) yield { ...own!, start: next + own!.start };
    if (!EXTENDED.has(following!.kind) || following!.start === 0) return;
    next = extended.start + following!.start;
  }
}

/** With what is in it. Errors: image_invalid where it ends after the disk. */
export function describePartition(disk: DiskBytes, partition: Partition): Partition {
  const { number, startBytes, sizeBytes } = partition;
  if (startBytes + sizeBytes > disk.sizeBytes)
    throw invalid(
      `the disk is cut off: its partition ${number} ends at ${startBytes + sizeBytes}, the disk has ${disk.sizeBytes} bytes`,
    );
  const inside: FileSystem | undefined = fileSystemOf(partOf(disk, startBytes, sizeBytes));
  if (!inside) return partition;
  return {
    ...partition,
    fileSystem: inside.type,
    ...(inside.label !== undefined && { label: inside.label }),
  };
}

/** Errors: image_invalid. */
export function readPartitions(disk: DiskBytes): PartitionTable {
  const gpt = readGpt(disk);
  const first = disk.read(0, SECTOR_BYTES);
  const signed = first !== undefined && isSigned(first);
  const bootCode = signed && first.subarray(0, BOOT_CODE_BYTES).some((byte) => byte !== 0);
  if (gpt) return { scheme: 'gpt', partitions: gpt.map((one) => describePartition(disk, one)), bootCode };
  const none = { scheme: 'none', partitions: [], bootCode } as const;
  if (!first) return disk.sizeBytes < SECTOR_BYTES ? none : { ...none, scheme: 'unknown' };
  if (!signed) return none;
  const entries = entriesOf(first);
  if (!isTable(entries)) return none;
  if (entries.some(({ kind }) => kind === PROTECTIVE))
    throw invalid(
      'the disk is damaged: its first sector tells of a GPT, and neither of its two tables can be read',
    );
  const partitions: Partition[] = [];
  const add = ({ active, kind, start, sectors }: Entry, number: number) =>
    partitions.push(
      describePartition(disk, {
        ...{ number, kind: `0x${kind.toString(16).padStart(2, '0')}` },
        ...{ startBytes: start * SECTOR_BYTES, sizeBytes: sectors * SECTOR_BYTES },
        ...(active === 0x80 && { active: true }),
      }),
    );
  let number = 5;
  for (const [i, entry] of entries.entries()) {
    if (entry.kind === 0) continue;
    add(entry, i + 1);
    if (EXTENDED.has(entry.kind)) for (const one of logical(disk, entry)) add(one, number++);
  }
  return { scheme: 'mbr', partitions, bootCode };
}
