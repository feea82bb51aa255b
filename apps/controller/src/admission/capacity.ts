/** What a node can give. Memory is never promised twice; processors are, up to a factor, since guests mostly wait. */
import { formatBytes, type Node } from '@skerry/model';
import type { Claim } from './claim.ts';
import { MIB } from './claim.ts';
import type { Taken } from './ledger.ts';

/** Promised processors for each one that is there. */
export const CPU_OVERCOMMIT = 16;
/** Kept for the kernel, Skerry and the engines: 192 MiB or a twentieth, whichever is more. */
export const reserveBytes = (memoryBytes: number): number =>
  Math.max(192 * MIB, Math.round(memoryBytes / 20));

export interface Shortage {
  readonly resource: 'memory' | 'cpus' | 'disk';
  readonly needed: number;
  readonly free: number;
  readonly text: string;
}

/** Why `claim` does not fit on `node` beside what is taken; `held` is what the same instance has already. */
export function shortage(
  node: Node,
  taken: Taken,
  claim: Claim,
  held: Claim | undefined,
): Shortage | undefined {
  const { capacity } = node.status;
  const reserve = reserveBytes(capacity.memoryBytes);
  const memoryFree = capacity.memoryBytes - reserve - taken.memoryBytes + (held?.memoryBytes ?? 0);
  if (claim.memoryBytes > memoryFree) {
    return {
      resource: 'memory',
      needed: claim.memoryBytes,
      free: Math.max(0, memoryFree),
      text: `needs ${formatBytes(claim.memoryBytes)} of memory with its runtime's share, and ${node.metadata.name} has ${formatBytes(Math.max(0, memoryFree))} free of ${formatBytes(capacity.memoryBytes)} (${formatBytes(reserve)} are kept for the system)`,
    };
  }
  const cpusFree = capacity.cpus * CPU_OVERCOMMIT - taken.cpus + (held?.cpus ?? 0);
  if (claim.cpus > cpusFree || claim.cpus > capacity.cpus) {
    const why =
      claim.cpus > capacity.cpus
        ? `${node.metadata.name} has ${capacity.cpus}`
        : `${node.metadata.name} has ${Math.max(0, cpusFree)} left to promise of ${capacity.cpus * CPU_OVERCOMMIT} (${capacity.cpus} processors, each promised ${CPU_OVERCOMMIT} times)`;
    return {
      resource: 'cpus',
      needed: claim.cpus,
      free: Math.max(0, cpusFree),
      text: `needs ${claim.cpus} cpus, and ${why}`,
    };
  }
  const diskFree = capacity.diskBytes - taken.diskBytes + (held?.diskBytes ?? 0);
  if (claim.diskBytes > diskFree) {
    return {
      resource: 'disk',
      needed: claim.diskBytes,
      free: Math.max(0, diskFree),
      text: `needs ${formatBytes(claim.diskBytes)} of disk, and ${node.metadata.name} has ${formatBytes(Math.max(0, diskFree))} free of ${formatBytes(capacity.diskBytes)}`,
    };
  }
  return undefined;
}
