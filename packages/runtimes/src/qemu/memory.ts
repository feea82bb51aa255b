/** What a guest costs beside its own memory, and what its control group may use. */
import type { CgroupLimits } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

const MiB = 1024 * 1024;

/** A guest with little code and memory that it hardly touches. */
export const isSmall = (memoryMiB: number): boolean => memoryMiB <= 64;

/** Translation buffer of TCG: its default takes up to a gigabyte; a small guest has little code. */
export const tcgBufferMiB = (memoryMiB: number): number => (isSmall(memoryMiB) ? 4 : 32);

/** QEMU and its supervisor without guest memory and translations: 14 MiB measured as PSS (QEMU 7.2, 40 guests), rounded up. */
const HYPERVISOR_MIB = 16;

export const overheadBytes = (memoryBytes: number): Bytes =>
  Math.round((HYPERVISOR_MIB + tcgBufferMiB(memoryMiBOf(memoryBytes))) * MiB + memoryBytes * 0.02) as Bytes;

/** Page cache of QEMU's program that the kernel counts for whoever touched it first, page tables, bursts. */
const SLACK_BYTES = 32 * MiB;
/** Threads of QEMU and its supervisor; what a guest starts inside has no process on the host. */
const PIDS = 64;

export const memoryMiBOf = (memoryBytes: number): number => Math.max(2, Math.floor(memoryBytes / MiB));

export const groupLimits = ({ cpus, memoryBytes }: GuestSpec): CgroupLimits => ({
  cpus,
  memoryBytes: memoryBytes + overheadBytes(memoryBytes) + SLACK_BYTES,
  pids: PIDS,
});
