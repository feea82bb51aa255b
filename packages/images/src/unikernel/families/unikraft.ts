/**
 * Unikraft: what it was built of stands in section .uk_libinfo, also in stripped images: lists of {length, layout 1, records
 * {type, length with its own six bytes, data}} (read in Unikraft 0.16 and 0.17).
 */
import type { ByteSource } from '../byte-source.ts';
import type { ElfFile } from '../elf.ts';
import type { Need, UnikraftFacts } from '../kernel-facts.ts';

const LIBRARY = 1;
const VERSIONS = new Set([6, 7]);
const CODENAME = 8;
const COMPILER = 0xb;
const LIST_HEAD_BYTES = 6;
const RECORD_HEAD_BYTES = 6;
const LIBINFO_LIMIT_BYTES = 1024 * 1024;
const LIBRARY_LIMIT = 512;
const TEXT_LIMIT = 128;

const MARKS = new Set(['.uk_libinfo', '.uk_bootinfo', '.uk_inittab', '.uk_ctortab']);

export const isUnikraft = (elf: ElfFile): boolean => elf.sections.some(({ name }) => MARKS.has(name));

/** Text of a record: printable, bounded. */
const textOf = (data: Buffer) =>
  data
    .toString('latin1')
    .split('\0')[0]!
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, TEXT_LIMIT);

export function readLibinfo(section: Buffer): UnikraftFacts {
  const libraries = new Set<string>();
  const found: { version?: string; codename?: string; compiler?: string } = {};
  for (let at = 0; at + LIST_HEAD_BYTES <= section.length; ) {
    const length = section.readUInt32LE(at);
    if (length < LIST_HEAD_BYTES || at + length > section.length || section.readUInt16LE(at + 4) !== 1) break;
    const end = at + length;
    for (let record = at + LIST_HEAD_BYTES; record + RECORD_HEAD_BYTES <= end; ) {
      const type = section.readUInt16LE(record);
      const size = section.readUInt32LE(record + 2);
      if (size < RECORD_HEAD_BYTES || record + size > end) break;
      const text = textOf(section.subarray(record + RECORD_HEAD_BYTES, record + size));
      if (type === LIBRARY && libraries.size < LIBRARY_LIMIT) libraries.add(text);
      else if (VERSIONS.has(type)) found.version ??= text;
      else if (type === CODENAME) found.codename ??= text;
      else if (type === COMPILER) found.compiler ??= text;
      record += size;
    }
    at = end;
  }
  return { ...found, libraries: [...libraries] };
}

export interface UnikraftLook {
  readonly facts: UnikraftFacts;
  /** Undefined where the libraries are not told. */
  readonly network: boolean | undefined;
  readonly needs: readonly Need[];
}

export function lookAtUnikraft(source: ByteSource, elf: ElfFile): UnikraftLook {
  const section = elf.sections.find(({ name }) => name === '.uk_libinfo');
  const facts = section
    ? readLibinfo(source.read(section.offset, Math.min(section.sizeBytes, LIBINFO_LIMIT_BYTES)))
    : { libraries: [] };
  const has = (library: string) => facts.libraries.includes(library);
  return {
    facts,
    network: facts.libraries.length === 0 ? undefined : has('libvirtio_net'),
    // Its generator is seeded from the processor and halts where that can't be done.
    needs: has('libukrandom') ? ['rdrand', 'rdseed'] : [],
  };
}
