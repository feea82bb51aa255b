/**
 * Reads the parts of an ELF file that tell how it boots (System V ABI; elf(5)). The file comes from a stranger: every
 * offset and length is checked against the bytes that are there.
 */
export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Buffer;
}
export interface ElfFile {
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly osAbi: number;
  readonly entry: bigint;
  readonly interpreter: boolean;
  readonly notes: readonly ElfNote[];
}

const PT_INTERP = 3;
const PT_NOTE = 4;
const SEGMENT_LIMIT = 512;
const NOTE_LIMIT = 256;

/** Of a complete file (or its beginning, if notes lie in it). Undefined: no ELF. A string: why it can't be read. */
export function parseElf(file: Buffer): ElfFile | string | undefined {
  if (file.length < 4 || file.readUInt32BE(0) !== 0x7f454c46) return undefined;
  if (file.length < 52) return 'the ELF header is cut off';
  const bits = file[4] === 1 ? 32 : file[4] === 2 ? 64 : undefined;
  if (!bits) return `the ELF class ${file[4]} is unknown`;
  if (file[5] !== 1) return 'the ELF file is big-endian';
  if (bits === 64 && file.length < 64) return 'the ELF header is cut off';
  const wide = bits === 64;
  const word = (at: number) => (wide ? Number(file.readBigUInt64LE(at)) : file.readUInt32LE(at));
  const tableAt = word(wide ? 32 : 28);
  const entrySize = file.readUInt16LE(wide ? 54 : 42);
  const count = file.readUInt16LE(wide ? 56 : 44);
  if (count > SEGMENT_LIMIT) return `the ELF file has ${count} segments, more than ${SEGMENT_LIMIT}`;
  if (count > 0 && entrySize < (wide ? 56 : 32)) return 'the ELF program headers are too small';
  if (!Number.isSafeInteger(tableAt) || tableAt + count * entrySize > file.length)
    return 'the ELF program headers lie beyond the end of the file';
  const notes: ElfNote[] = [];
  let interpreter = false;
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * entrySize;
    const type = file.readUInt32LE(at);
    if (type === PT_INTERP) interpreter = true;
    if (type !== PT_NOTE) continue;
    const offset = word(at + (wide ? 8 : 4));
    const size = word(at + (wide ? 32 : 16));
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(size) || offset + size > file.length)
      return 'an ELF note lies beyond the end of the file';
    notes.push(...parseNotes(file.subarray(offset, offset + size)));
    if (notes.length > NOTE_LIMIT) return `the ELF file has more than ${NOTE_LIMIT} notes`;
  }
  return {
    bits,
    machine: file.readUInt16LE(18),
    osAbi: file[7]!,
    entry: wide ? file.readBigUInt64LE(24) : BigInt(file.readUInt32LE(24)),
    interpreter,
    notes,
  };
}

const aligned = (size: number) => Math.ceil(size / 4) * 4;

function parseNotes(segment: Buffer): ElfNote[] {
  const notes: ElfNote[] = [];
  let at = 0;
  while (at + 12 <= segment.length && notes.length <= NOTE_LIMIT) {
    const nameSize = segment.readUInt32LE(at);
    const size = segment.readUInt32LE(at + 4);
    const nameAt = at + 12;
    const dataAt = nameAt + aligned(nameSize);
    if (nameSize > 256 || dataAt + size > segment.length) break;
    const owner = segment.toString('latin1', nameAt, nameAt + Math.max(nameSize - 1, 0));
    notes.push({
      owner,
      type: segment.readUInt32LE(at + 8),
      descriptor: segment.subarray(dataAt, dataAt + size),
    });
    at = dataAt + aligned(size);
  }
  return notes;
}
