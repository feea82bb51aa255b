/** What a system container costs the node beside its own limit, and the guard around both. */
import type { CgroupLimits } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

const MiB = 1024 * 1024;
/** LXC's monitor 3.0 MiB and skerry-system 0.6 MiB of their own (Pss, LXC 5.0.2), and what the kernel keeps for them. */
export const OVERHEAD_BYTES = (6 * MiB) as Bytes;
const OVERHEAD_PROCESSES = 8;

/** The group around the guest's own: what the guest can not reach, should it change its own limits. */
export function guardLimits({ cpus, memoryBytes, pids }: GuestSpec): CgroupLimits {
  return { cpus, memoryBytes: memoryBytes + OVERHEAD_BYTES, pids: pids + OVERHEAD_PROCESSES };
}
