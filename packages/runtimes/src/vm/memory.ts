/** What a virtual machine costs beside its own memory, and what its control group may use. */
import type { CgroupLimits } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import { memoryMiBOf } from '../qemu/memory.ts';
import type { VmRecord } from './record.ts';

const MiB = 1024 * 1024;

/**
 * Translation buffer of TCG: its default takes up to a gigabyte. A guest of a few MiB has little code. A Linux of Debian's
 * is up as soon with 24 MiB as with QEMU's default (4.6 s of processor time), with 16 MiB 5 % later, with 8 MiB 50 %.
 */
export const tcgBufferMiB = (memoryMiB: number): number => (memoryMiB <= 64 ? 4 : 24);

/**
 * QEMU, its supervisor and a TPM without guest memory and translations, measured with a Linux inside (QEMU 7.2): 20 MiB of
 * their own, and their share of 22 MiB of program files, which all guests have together. Rounded up.
 */
const HYPERVISOR_MIB = 24;
/** Page tables: 8 bytes for each 4 KiB, and what is above them. */
const OF_MEMORY = 0.0025;

export const vmOverheadBytes = (memoryBytes: number): Bytes =>
  Math.round(
    (HYPERVISOR_MIB + tcgBufferMiB(memoryMiBOf(memoryBytes))) * MiB + memoryBytes * OF_MEMORY,
  ) as Bytes;

/** Page cache of disks and programs that the kernel counts for whoever touched it first; it is taken back under pressure. */
const SLACK_BYTES = 48 * MiB;
/** The frame buffer, and what viewers of it cost. */
const DISPLAY_BYTES = 32 * MiB;
/** UEFI's flash memories are held in whole: 64 MiB each on arm64's board. */
const FLASH_BYTES = { amd64: 8 * MiB, arm64: 128 * MiB };
/** Threads of QEMU (one for each processor, a pool for its disks), of its supervisor and its TPM. */
const PIDS = 128;

export const vmGroupLimits = ({
  spec: { cpus, memoryBytes, display },
  arch,
  heldBytes = 0,
}: Pick<VmRecord, 'spec' | 'arch' | 'heldBytes'>): CgroupLimits => ({
  cpus,
  memoryBytes:
    memoryBytes +
    vmOverheadBytes(memoryBytes) +
    SLACK_BYTES +
    FLASH_BYTES[arch] +
    heldBytes +
    (display ? DISPLAY_BYTES : 0),
  pids: PIDS,
});
