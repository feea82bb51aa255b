/** What a simulated guest does, read from `GuestSpec.sim`. Pure. A key that is not known is refused, as in a manifest. */
import { EXIT_REASONS, type ExitReason, SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

export interface SimBehaviour {
  /** How long `create` takes. Default 0. */
  readonly createMs: number;
  /** How long `start` takes. Default 0. */
  readonly startMs: number;
  /** `start` fails with guest_start_failed. */
  readonly failStart: boolean;
  /** It ends by itself so long after its start. Absent: it runs until it is stopped. */
  readonly exitAfterMs?: number;
  readonly exitCode: number;
  /** Default: `completed` with exitCode 0, else `error`. */
  readonly exitReason?: ExitReason;
  /** How long it takes to end once it was asked to. Default 0. */
  readonly stopMs: number;
  /** It does not end when asked: it has to be forced. */
  readonly ignoreStop: boolean;
  /** It writes a line `tick N` so often. Absent: it is silent. */
  readonly logEveryMs?: number;
  /** Share of a processor that it uses. Default 0. */
  readonly cpus: number;
  /** Share of its memory that it uses. Default 0.5. */
  readonly memoryShare: number;
}

const NUMBERS = [
  'createMs',
  'startMs',
  'exitAfterMs',
  'exitCode',
  'stopMs',
  'logEveryMs',
  'cpus',
  'memoryShare',
] as const;
const FLAGS = ['failStart', 'ignoreStop'] as const;
const REST = { createMs: 0, startMs: 0, exitCode: 0, stopMs: 0, cpus: 0, memoryShare: 0.5 };

const refuse = (text: string) => new SkerryError('unsupported', `sim: ${text}`);

/** Errors: unsupported, naming the key. */
export function behaviourOf(spec: GuestSpec): SimBehaviour {
  const read: Record<string, number | string | boolean> = { ...REST, failStart: false, ignoreStop: false };
  for (const [key, value] of Object.entries(spec.sim ?? {})) {
    if ((NUMBERS as readonly string[]).includes(key)) {
      if (typeof value !== 'number' || !(value >= 0)) throw refuse(`${key} must be a number of 0 or more`);
      if (key === 'logEveryMs' && value < 1) throw refuse('logEveryMs must be 1 or more');
    } else if ((FLAGS as readonly string[]).includes(key)) {
      if (typeof value !== 'boolean') throw refuse(`${key} must be true or false`);
    } else if (key === 'exitReason') {
      if (!(EXIT_REASONS as readonly unknown[]).includes(value))
        throw refuse(`exitReason must be one of ${EXIT_REASONS.join(', ')}`);
    } else {
      throw refuse(`"${key}" is not known; known are ${[...NUMBERS, ...FLAGS, 'exitReason'].join(', ')}`);
    }
    read[key] = value;
  }
  return read as unknown as SimBehaviour;
}
