/** What a system container costs the node beside its own limit, and the guard around both. */
import type { CgroupLimits } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

const MiB = 1024 * 1024;
/**
 * LXC's monitor and skerry-system with what the kernel keeps for them: 1.6 to 1.8 MiB of the group's usage beside the guest's own
 * (LXC 5.0.2, Linux 6.18), of that Pss 1.3 and 0.5 MiB.
 */
export const OVERHEAD_BYTES = (3 * MiB) as Bytes;
const OVERHEAD_PROCESSES = 8;

/** The group around the guest's own: what the guest can not reach, should it change its own limits. */
export function guardLimits({ cpus, memoryBytes, pids }: GuestSpec): CgroupLimits {
  return { cpus, memoryBytes: memoryBytes + OVERHEAD_BYTES, pids: pids + OVERHEAD_PROCESSES };
}
