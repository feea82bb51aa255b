/** What a simulated guest does, read from `GuestSpec.sim`. Pure. A key that is not known is refused, as in a manifest. */
import { EXIT_REASONS, type ExitReason, SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

export interface SimBehaviour {
  /** How long `create` takes. Default 0. */
  readonly createMs: number;
  /** `create` fails with guest_start_failed and leaves nothing. */
  readonly failCreate: boolean;
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
  /** How long a command that is run in it takes. Default 0. */
  readonly execMs: number;
  readonly execExitCode: number;
  /** What such a command prints; default: its own words. */
  readonly execOutput?: string;
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
  'execMs',
  'execExitCode',
] as const;
const FLAGS = ['failCreate', 'failStart', 'ignoreStop'] as const;
const TEXTS = ['exitReason', 'execOutput'] as const;
const REST = {
  ...{ createMs: 0, startMs: 0, stopMs: 0, execMs: 0, exitCode: 0, execExitCode: 0 },
  ...{ cpus: 0, memoryShare: 0.5, failCreate: false, failStart: false, ignoreStop: false },
};

const refuse = (text: string) => new SkerryError('unsupported', `sim: ${text}`);

/** Errors: unsupported, naming the key. */
export function behaviourOf(spec: GuestSpec): SimBehaviour {
  const read: Record<string, number | string | boolean> = { ...REST };
  for (const [key, value] of Object.entries(spec.sim ?? {})) {
    if ((NUMBERS as readonly string[]).includes(key)) {
      if (typeof value !== 'number' || !(value >= 0)) throw refuse(`${key} must be a number of 0 or more`);
      if (key === 'logEveryMs' && value < 1) throw refuse('logEveryMs must be 1 or more');
    } else if ((FLAGS as readonly string[]).includes(key)) {
      if (typeof value !== 'boolean') throw refuse(`${key} must be true or false`);
    } else if (key === 'exitReason') {
      if (!(EXIT_REASONS as readonly unknown[]).includes(value))
        throw refuse(`exitReason must be one of ${EXIT_REASONS.join(', ')}`);
    } else if (key === 'execOutput') {
      if (typeof value !== 'string') throw refuse('execOutput must be a text');
    } else {
      throw refuse(`"${key}" is not known; known are ${[...NUMBERS, ...FLAGS, ...TEXTS].join(', ')}`);
    }
    read[key] = value;
  }
  return read as unknown as SimBehaviour;
}
