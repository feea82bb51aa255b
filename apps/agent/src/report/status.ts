/** From an instance's record to the status that the controller stores. Pure. */
import type { InstanceStatus } from '@skerry/model';
import type { InstanceRecord } from '../ledger/record.ts';

const timestamp = (ms: number) => new Date(ms).toISOString();

export function statusOf(record: Readonly<InstanceRecord>, address: string | undefined): InstanceStatus {
  const { reason, pid, guestAddresses, startedAtMs, startMs, readyMs } = record;
  return {
    phase: record.phase,
    observedGeneration: record.observedGeneration,
    ...(reason !== undefined && { reason }),
    health: record.health,
    ...(pid !== undefined && { pid }),
    ...(address !== undefined && { address }),
    ...(guestAddresses && { guestAddresses: [...guestAddresses] }),
    ...(startedAtMs !== undefined && { startedAt: timestamp(startedAtMs) }),
    ...(startMs !== undefined && { startMs }),
    ...(readyMs !== undefined && { readyMs }),
    restartCount: record.restartCount,
    exits: record.exits.map(({ atMs, ...exit }) => ({ ...exit, at: timestamp(atMs) })),
  };
}
