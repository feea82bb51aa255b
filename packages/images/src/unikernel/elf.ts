/**
 * Reads the parts of an ELF file that tell how it boots and what it is (System V ABI; elf(5)). The file comes from a
 * stranger: every offset, length and count is checked against the bytes that are there, and all of them are bounded.
 */
import type { ByteSource } from './byte-source.ts';
import { type ElfNote, NOTE_BYTES, parseNotes } from './elf-notes.ts';

export type { ElfNote } from './elf-notes.ts';

export interface ElfSection {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface ElfFile {
  readonly bits: 32 | 64;
  /** e_type: 2 is a program at fixed addresses, 3 one that can be moved. */
  readonly type: number;
  readonly machine: number;
  readonly osAbi: number;
  readonly entry: bigint;
  readonly interpreter: string | undefined;
  readonly notes: readonly ElfNote[];
  readonly sections: readonly ElfSection[];
}

const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_NOTE = 4;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
const SEGMENT_LIMIT = 512;
const SECTION_LIMIT = 4096;
const NOTE_LIMIT = 256;
const NAMES_LIMIT_BYTES = 256 * 1024;
const INTERPRETER_LIMIT_BYTES = 4096;

/** Undefined: no ELF. A string: why it can't be read. */
export function parseElf(source: ByteSource): ElfFile | string | undefined {
  const head = source.read(0, 64);
  if (head.length < 4 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  if (head.length < 52) return 'the ELF header is cut off';
  const bits = head[4] === 1 ? 32 : head[4] === 2 ? 64 : undefined;
  if (!bits) return `the ELF class ${head[4]} is unknown`;
  if (head[5] !== 1) return 'the ELF file is big-endian';
  if (bits === 64 && head.length < 64) return 'the ELF header is cut off';
  const wide = bits === 64;
  const segments = parseSegments(source, head, wide);
  if (typeof segments === 'string') return segments;
  const sections = parseSections(source, head, wide);
  if (typeof sections === 'string') return sections;
  const notes = [...segments.notes, ...sections.notes];
  if (notes.length > NOTE_LIMIT) return `the ELF file has more than ${NOTE_LIMIT} notes`;
  return {
    bits,
    type: head.readUInt16LE(16),
    machine: head.readUInt16LE(18),
    osAbi: head[7]!,
    entry: wide ? head.readBigUInt64LE(24) : BigInt(head.readUInt32LE(24)),
    interpreter: segments.interpreter,
    notes,
    sections: sections.named,
  };
}

/** A word of the file's own width. What is beyond 2^53 comes out rounded: no file is that long. */
const wordAt = (bytes: Buffer, at: number, wide: boolean) =>
  wide ? Number(bytes.readBigUInt64LE(at)) : bytes.readUInt32LE(at);

function parseSegments(
  source: ByteSource,
  head: Buffer,
  wide: boolean,
): { notes: ElfNote[]; interpreter: string | undefined } | string {
  const tableAt = wordAt(head, wide ? 32 : 28, wide);
  const entrySize = head.readUInt16LE(wide ? 54 : 42);
  const count = head.readUInt16LE(wide ? 56 : 44);
  if (count > SEGMENT_LIMIT) return `the ELF file has ${count} segments, more than ${SEGMENT_LIMIT}`;
  if (count > 0 && (entrySize < (wide ? 56 : 32) || entrySize > 1024))
    return `the ELF program headers have ${entrySize} bytes each`;
  if (!source.has(tableAt, count * entrySize))
    return 'the ELF program headers lie beyond the end of the file';
  const table = source.read(tableAt, count * entrySize);
  const notes: ElfNote[] = [];
  let interpreter: string | undefined;
  for (let i = 0; i < count; i++) {
    const at = i * entrySize;
    const type = table.readUInt32LE(at);
    if (type !== PT_LOAD && type !== PT_INTERP && type !== PT_NOTE) continue;
    const offset = wordAt(table, at + (wide ? 8 : 4), wide);
    const size = wordAt(table, at + (wide ? 32 : 16), wide);
    if (!source.has(offset, size))
      return `an ELF ${type === PT_NOTE ? 'note' : 'segment'} lies beyond the end of the file: it is cut off`;
    if (type === PT_INTERP)
      interpreter = source
        .read(offset, Math.min(size, INTERPRETER_LIMIT_BYTES))
        .toString('latin1')
        .split('\0')[0]!;
    if (type === PT_NOTE) notes.push(...parseNotes(source.read(offset, Math.min(size, NOTE_BYTES))));
    if (notes.length > NOTE_LIMIT) return `the ELF file has more than ${NOTE_LIMIT} notes`;
  }
  return { notes, interpreter };
}

/** QEMU does not look at sections: a file without them is as good. One whose table is not all there is cut off. */
function parseSections(
  source: ByteSource,
  head: Buffer,
  wide: boolean,
): { named: ElfSection[]; notes: ElfNote[] } | string {
  const none = { named: [], notes: [] };
  const tableAt = wordAt(head, wide ? 40 : 32, wide);
  const entrySize = head.readUInt16LE(wide ? 58 : 46);
  const count = head.readUInt16LE(wide ? 60 : 48);
  const namesIndex = head.readUInt16LE(wide ? 62 : 50);
  if (tableAt === 0 || count === 0) return none;
  if (count > SECTION_LIMIT) return `the ELF file has ${count} sections, more than ${SECTION_LIMIT}`;
  if (entrySize < (wide ? 64 : 40) || entrySize > 1024)
    return `the ELF section headers have ${entrySize} bytes each`;
  if (!source.has(tableAt, count * entrySize))
    return 'the ELF section headers lie beyond the end of the file: it is cut off';
  const table = source.read(tableAt, count * entrySize);
  const entryOf = (i: number) => ({
    nameAt: table.readUInt32LE(i * entrySize),
    type: table.readUInt32LE(i * entrySize + 4),
    offset: wordAt(table, i * entrySize + (wide ? 24 : 16), wide),
    sizeBytes: wordAt(table, i * entrySize + (wide ? 32 : 20), wide),
  });
  const namesAt = namesIndex < count ? entryOf(namesIndex) : undefined;
  const names =
    namesAt && source.has(namesAt.offset, namesAt.sizeBytes)
      ? source.read(namesAt.offset, Math.min(namesAt.sizeBytes, NAMES_LIMIT_BYTES))
      : Buffer.alloc(0);
  const named: ElfSection[] = [];
  const notes: ElfNote[] = [];
  for (let i = 1; i < count; i++) {
    const { nameAt, type, offset, sizeBytes } = entryOf(i);
    if (type === SHT_NOBITS || !source.has(offset, sizeBytes)) continue;
    const end = names.indexOf(0, nameAt);
    const name =
      nameAt < names.length && end > nameAt
        ? names.toString('latin1', nameAt, Math.min(end, nameAt + 128))
        : '';
    named.push({ name, offset, sizeBytes });
    // Some notes have no segment: Hermit's and Solo5's are found by their section then.
    if (type === SHT_NOTE && notes.length <= NOTE_LIMIT)
      notes.push(
        ...parseNotes(source.read(offset, Math.min(sizeBytes, NOTE_BYTES))).map((note) => ({
          ...note,
          unmapped: true,
        })),
      );
  }
  return { named, notes };
}
