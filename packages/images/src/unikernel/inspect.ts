/**
 * Tells what a kernel image is from its bytes: of which family, how it boots, what it needs. Notes and sections count more
 * than what could be guessed, and the way of booting is found in the order in which QEMU's `-kernel` looks (Linux boot
 * header, multiboot 1, PVH note). What is no unikernel is refused with the reason; what is one and can't be started by
 * any node is taken and says why.
 */
import { SkerryError } from '@skerry/model';
import type { ByteSource } from './byte-source.ts';
import { type ElfFile, parseElf } from './elf.ts';
import { isArm64Image, isEfiProgram, readBzImage } from './families/linux.ts';
import { isSolo5, readSolo5, TENDER_NEEDS, whyNotSolo5 } from './families/solo5.ts';
import { isUnikraft, lookAtUnikraft } from './families/unikraft.ts';
import type { Family, KernelFacts } from './kernel-facts.ts';
import { familyByMarks } from './marks.ts';
import { findMultiboot, hasMultiboot2, type Multiboot } from './multiboot.ts';

const EM_386 = 3;
const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const ET_EXEC = 2;
const ET_DYN = 3;
const XEN_GUEST_OS = 6;
const XEN_PHYS32_ENTRY = 18;
const HERMIT_ENTRY_VERSION = 0x5a00;
const OSABI_STANDALONE = 255;
const OWN_NAME = 1;

const refuse = (message: string) => new SkerryError('image_invalid', message);
const FOREIGN_ARM64 =
  'it is an ELF file for arm64: of that architecture, kernels in the form of an arm64 Image are started, and whole machines by the runtime vm';

/** Errors: image_invalid with what it is instead. */
export function inspectKernel(source: ByteSource): KernelFacts {
  const linux = readBzImage(source);
  if (typeof linux === 'string') throw refuse(linux);
  if (linux) {
    const { version, protocol } = linux;
    return {
      ...{
        format: 'bzimage',
        boot: 'linux',
        machines: ['q35', 'pc', 'microvm'],
        family: 'linux',
        arch: 'amd64',
      },
      ...{ runnable: true, linux: { protocol }, ...(version === undefined ? {} : { version }) },
    };
  }
  const elf = parseElf(source);
  if (typeof elf === 'string') throw refuse(elf);
  return elf ? inspectElf(source, elf) : inspectOther(source);
}

function inspectOther(source: ByteSource): KernelFacts {
  if (isArm64Image(source)) {
    return {
      ...{ format: 'arm64-image', boot: 'linux', machines: ['virt'], family: 'linux', arch: 'arm64' },
      ...{ runnable: true, needs: ['qemu-arm64'] },
    };
  }
  if (isEfiProgram(source)) {
    const why =
      'it is a program for UEFI, which needs its firmware and a disk: put it on a disk as EFI/BOOT/BOOTX64.EFI and use the runtime vm';
    return {
      ...{ format: 'pe', boot: 'none', machines: [], family: 'efi', arch: 'amd64', runnable: false, why },
    };
  }
  if (source.read(0, 2).toString('latin1') === 'MZ') throw refuse('the file is a program for Windows');
  const multiboot = findMultiboot(source);
  if (multiboot?.hasAddresses) {
    if (multiboot.wrong) throw refuse(multiboot.wrong);
    const family = familyByMarks(source);
    return {
      ...{ format: 'flat', boot: 'multiboot', machines: ['q35', 'pc', 'microvm'], family, arch: 'amd64' },
      runnable: true,
    };
  }
  if (source.read(0, 6).toString('latin1') === '070701')
    throw refuse(
      'the file is a cpio archive: a first file system that a kernel loads beside itself; import both as one OCI image',
    );
  throw refuse('the file is neither a container archive nor a kernel (ELF, multiboot, Linux boot header)');
}

type Verdict = Partial<KernelFacts> & { readonly family: Family };

/** What is known of the family, before it is asked how the file boots. */
function familyOf(source: ByteSource, elf: ElfFile): Verdict | undefined {
  const note = (owner: string, type: number) =>
    elf.notes.find((one) => one.owner === owner && one.type === type);
  if (isSolo5(elf)) {
    const solo5 = readSolo5(elf);
    if (typeof solo5 === 'string') throw refuse(solo5);
    const needs = TENDER_NEEDS[solo5.target];
    const network = solo5.devices.some(({ type }) => type === 'net');
    const verdict = { family: 'solo5', solo5, network } as const;
    if (needs) return { ...verdict, boot: 'tender', machines: [], needs, runnable: true };
    if (solo5.target === 'virtio') return verdict;
    // Solo5's xen build has a multiboot header as well, and hangs silently where QEMU follows it.
    return { ...verdict, boot: 'none', machines: [], runnable: false, why: whyNotSolo5(solo5.target) };
  }
  if (isUnikraft(elf)) {
    const { facts, network, needs } = lookAtUnikraft(source, elf);
    return {
      family: 'unikraft',
      unikraft: facts,
      ...(facts.version === undefined ? {} : { version: facts.version }),
      ...(network === undefined ? {} : { network }),
      ...(needs.length === 0 ? {} : { needs }),
    };
  }
  const hermit = note('HERMIT', HERMIT_ENTRY_VERSION);
  if (hermit || elf.osAbi === OSABI_STANDALONE) {
    const version = hermit?.descriptor[0];
    return { family: 'hermit', hermit: version === undefined ? {} : { entryVersion: version } };
  }
  const guestOs = note('Xen', XEN_GUEST_OS)?.descriptor.toString('latin1').split('\0')[0];
  if (guestOs === 'osv') return { family: 'osv' };
  if (guestOs === 'linux') return { family: 'linux' };
  const own = note('Skerry', OWN_NAME)?.descriptor.toString('latin1').split('\0')[0];
  return own === 'pebble' ? { family: 'pebble' } : undefined;
}

interface Boot {
  readonly boot: KernelFacts['boot'];
  readonly machines: KernelFacts['machines'];
}

/** As QEMU will see it. Undefined: it has no entry that QEMU knows. */
function bootOf(elf: ElfFile, multiboot: Multiboot | undefined): Boot | undefined {
  if (multiboot) {
    if (multiboot.wrong) throw refuse(multiboot.wrong);
    // QEMU takes an ELF64 only with the address fields of flag 16.
    if (elf.bits === 64 && !multiboot.hasAddresses)
      throw refuse('the ELF64 file has a multiboot header without addresses, which QEMU refuses');
    return { boot: 'multiboot', machines: ['q35', 'pc', 'microvm'] };
  }
  const pvh = elf.notes.find(
    ({ owner, type, unmapped }) => owner === 'Xen' && type === XEN_PHYS32_ENTRY && !unmapped,
  );
  if (!pvh) return undefined;
  if (pvh.descriptor.length !== 4 && pvh.descriptor.length !== 8)
    throw refuse(`the PVH note has ${pvh.descriptor.length} bytes, 4 or 8 are right`);
  return { boot: 'pvh', machines: ['microvm', 'q35', 'pc'] };
}

function inspectElf(source: ByteSource, elf: ElfFile): KernelFacts {
  const { machine } = elf;
  if (machine !== EM_X86_64 && machine !== EM_386 && machine !== EM_AARCH64)
    throw refuse(`the ELF file is for machine ${machine}, not for x86`);
  if (elf.type !== ET_EXEC && elf.type !== ET_DYN)
    throw refuse(`the ELF file is no program but of the type ${elf.type} (an object file, or a memory dump)`);
  const known = familyOf(source, elf);
  const facts = {
    format: `elf${elf.bits}` as const,
    entry: `0x${elf.entry.toString(16)}`,
    arch: machine === EM_AARCH64 ? ('arm64' as const) : ('amd64' as const),
  };
  const whyNot = (family: Family, why: string): KernelFacts => ({
    ...{ ...facts, boot: 'none', machines: [], ...known, family, runnable: false, why },
  });
  if (machine === EM_AARCH64) {
    if (!known)
      throw refuse(`the ELF file is for arm64 and of no unikernel that is known${linuxProgram(elf)}`);
    return whyNot(known.family, FOREIGN_ARM64);
  }
  if (known?.boot) return { ...facts, machines: [], runnable: false, ...known, boot: known.boot };
  // A loader of Hermit's has a boot entry, an application has none.
  const boot = bootOf(elf, findMultiboot(source));
  if (boot) {
    const family = known?.family ?? familyByMarks(source);
    if (family === 'nanos')
      return whyNot(
        'nanos',
        'it is the kernel of Nanos alone: import the disk image that holds it and its program',
      );
    return { ...facts, runnable: true, ...boot, ...known, family };
  }
  const why = known ? whyNoEntry(known, elf) : undefined;
  if (known && why !== undefined) return whyNot(known.family, why);
  const entry = hasMultiboot2(source)
    ? 'it has a multiboot 2 header, which QEMU does not read'
    : `it has neither a PVH note nor a multiboot header${linuxProgram(elf)}`;
  throw refuse(`the ELF file is no kernel that QEMU boots: ${entry}`);
}

const linuxProgram = (elf: ElfFile) =>
  elf.interpreter
    ? '; it is an ordinary Linux program'
    : '; it is perhaps an ordinary Linux program, statically linked';

/** A family that is known, in a build that QEMU has no entry for. Undefined: that is no build of the family. */
function whyNoEntry({ family, solo5 }: Verdict, elf: ElfFile): string | undefined {
  const isXen = elf.notes.some(({ owner }) => owner === 'Xen');
  switch (family) {
    case 'unikraft':
      return isXen
        ? 'it was built for Xen, which Skerry does not drive: build it for the platform qemu'
        : 'it was built for Firecracker (Linux boot protocol in an ELF file), which QEMU does not load: build it for the platform qemu';
    case 'hermit':
      return "it is an application of Hermit, which boots through Hermit's loader: import an OCI image that holds both, with the loader as its kernel";
    case 'solo5':
      return `it was built for Solo5's target ${solo5?.target ?? ''} and lacks the multiboot header by which it boots`;
    case 'osv':
    case 'linux':
      return 'it was built for Xen alone: its PVH entry is missing';
    default:
      return undefined;
  }
}
