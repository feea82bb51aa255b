/**
 * Tells what a kernel image is from its bytes, in the order in which QEMU's `-kernel` looks (Linux boot header, multiboot 1,
 * PVH note). What is no unikernel is refused with the reason; what is one but can't run is told why.
 */
import { SkerryError } from '@skerry/model';
import { type ElfFile, parseElf } from './elf.ts';

export interface KernelFacts {
  readonly format: 'elf64' | 'elf32';
  readonly boot: 'pvh' | 'multiboot';
  /** Machines of QEMU that can boot it; the first is tried. */
  readonly machines: readonly ('microvm' | 'q35')[];
  readonly family: string;
  readonly entry: string;
  readonly arch: string;
}

const EM_386 = 3;
const EM_X86_64 = 62;
const XEN_PHYS32_ENTRY = 18;
const MULTIBOOT_MAGIC = 0x1badb002;
const MULTIBOOT_SEARCH_BYTES = 8192;

/** The flags of a multiboot 1 header in the first 8 KiB; undefined where there is none. */
function multibootFlags(file: Buffer): number | undefined {
  const end = Math.min(file.length, MULTIBOOT_SEARCH_BYTES) - 12;
  for (let at = 0; at <= end; at += 4) {
    if (file.readUInt32LE(at) !== MULTIBOOT_MAGIC) continue;
    const flags = file.readUInt32LE(at + 4);
    if (((MULTIBOOT_MAGIC + flags + file.readUInt32LE(at + 8)) & 0xffffffff) === 0) return flags;
  }
  return undefined;
}

function familyOf(elf: ElfFile, file: Buffer): string {
  if (elf.notes.some((note) => note.owner === 'Solo5')) return 'solo5';
  if (elf.notes.some((note) => note.owner === 'HERMIT') || elf.osAbi === 255) return 'hermit';
  if (
    elf.notes.some(
      (note) =>
        note.owner === 'Xen' && note.type === 6 && note.descriptor.toString('latin1').startsWith('osv'),
    )
  )
    return 'osv';
  if (file.includes('.uk_bootinfo') || file.includes('.uk_inittab')) return 'unikraft';
  return 'generic';
}

const refuse = (message: string) => new SkerryError('image_invalid', message);

/** `file`: all of it. Errors: image_invalid with what it is instead. */
export function inspectKernel(file: Buffer): KernelFacts {
  if (file.length >= 0x206 && file.toString('latin1', 0x202, 0x206) === 'HdrS') {
    throw refuse('the file is a Linux kernel, no unikernel: it needs the runtime vm');
  }
  const elf = parseElf(file);
  if (elf === undefined) throw refuse('the file is neither a container archive nor an ELF kernel');
  if (typeof elf === 'string') throw refuse(elf);
  if (elf.machine !== EM_X86_64 && elf.machine !== EM_386)
    throw refuse(`the ELF file is for machine ${elf.machine}, not for x86`);
  const facts = {
    format: `elf${elf.bits}`,
    entry: `0x${elf.entry.toString(16)}`,
    arch: 'amd64',
    family: familyOf(elf, file),
  } as const;
  const flags = multibootFlags(file);
  if (flags !== undefined) {
    // QEMU takes an ELF64 only with the address fields of flag 16.
    if (elf.bits === 64 && (flags & 0x10000) === 0)
      throw refuse('the ELF64 file has a multiboot header without addresses, which QEMU refuses');
    return { ...facts, boot: 'multiboot', machines: ['q35', 'microvm'] };
  }
  const pvh = elf.notes.find((note) => note.owner === 'Xen' && note.type === XEN_PHYS32_ENTRY);
  if (pvh) {
    if (pvh.descriptor.length !== 4 && pvh.descriptor.length !== 8)
      throw refuse(`the PVH note has ${pvh.descriptor.length} bytes, 4 or 8 are right`);
    return { ...facts, boot: 'pvh', machines: ['microvm', 'q35'] };
  }
  const why = elf.interpreter
    ? 'it is an ordinary Linux program'
    : facts.family === 'solo5'
      ? 'it needs a Solo5 tender'
      : facts.family === 'hermit'
        ? 'it needs the Hermit loader'
        : 'it is perhaps an ordinary Linux program, statically linked';
  throw refuse(
    `the ELF file is no kernel that QEMU boots: it has neither a PVH note nor a multiboot header; ${why}`,
  );
}
