/** ELF notes: {name size, descriptor size, type, name, descriptor}, each padded to four bytes (System V ABI, chapter 5). */
export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Buffer;
  /** Found by its section. QEMU looks at segments only. */
  readonly unmapped?: boolean;
}

/** A list of notes longer than this is cut. */
export const NOTE_BYTES = 64 * 1024;
const NOTE_LIMIT = 256;
const OWNER_LIMIT_BYTES = 256;

const aligned = (size: number) => Math.ceil(size / 4) * 4;

/** Stops at the first that does not fit. */
export function parseNotes(segment: Buffer): ElfNote[] {
  const notes: ElfNote[] = [];
  let at = 0;
  while (at + 12 <= segment.length && notes.length <= NOTE_LIMIT) {
    const nameSize = segment.readUInt32LE(at);
    const size = segment.readUInt32LE(at + 4);
    const nameAt = at + 12;
    const dataAt = nameAt + aligned(nameSize);
    if (nameSize > OWNER_LIMIT_BYTES || dataAt + size > segment.length) break;
    notes.push({
      owner: segment.toString('latin1', nameAt, nameAt + Math.max(nameSize - 1, 0)),
      type: segment.readUInt32LE(at + 8),
      descriptor: segment.subarray(dataAt, dataAt + size),
    });
    at = dataAt + aligned(size);
  }
  return notes;
}
