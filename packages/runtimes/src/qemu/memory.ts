/** What a guest costs beside its own memory, and what its control group may use. */
import type { CgroupLimits } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

const MiB = 1024 * 1024;

/** What QEMU itself takes, its translation buffer and the supervisor included; measured, see docs. */
export const overheadBytes = (memoryBytes: number): Bytes =>
  Math.round(20 * MiB + memoryBytes * 0.02) as Bytes;

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
