/** Limits of a stream's queues as they are where a manifest does not say otherwise. */

import type { StreamSpec } from '@skerry/model';
import { parseBytes, parseMillis } from '@skerry/model';
import type { QueueOptions } from '../ports.ts';

/** What was taken and not processed yet: when it is full the devices wait, nothing is lost. */
export const BUFFER = { sizeBytes: 64 * 2 ** 20, ageMs: 0, whenFull: 'wait' } as const satisfies QueueOptions;
/** What a sink has not taken yet. A day of outage at 200 messages of 15 bytes a second fits; then the oldest go. */
export const SINK_QUEUE = {
  sizeBytes: 256 * 2 ** 20,
  ageMs: 0,
  whenFull: 'oldest',
} as const satisfies QueueOptions;

export function queueOptions(
  limits: StreamSpec['buffer'] | undefined,
  otherwise: QueueOptions,
): QueueOptions {
  return {
    sizeBytes: limits?.size === undefined ? otherwise.sizeBytes : parseBytes(limits.size),
    ageMs: limits?.age === undefined ? otherwise.ageMs : parseMillis(limits.age),
    whenFull: limits?.whenFull ?? otherwise.whenFull,
  };
}
