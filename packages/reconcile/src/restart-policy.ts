/**
 * What follows the end of a guest, as a table: the manifest's `restart` against the reason of the end. Pure.
 *
 *   restart: it is started again after its backoff    again: at once, for somebody asked for it
 *   stop: it has done what it was to do               fail: it has not, and is not to be tried again
 */
import type { ExitReason } from '@skerry/model';

export type RestartPolicy = 'always' | 'on-failure' | 'never';
export type RestartDecision = 'restart' | 'again' | 'stop' | 'fail';

const FAILURE = { always: 'restart', 'on-failure': 'restart', never: 'fail' } as const;
const ASKED_TO_STOP = { always: 'stop', 'on-failure': 'stop', never: 'stop' } as const;
const ASKED_TO_START = { always: 'again', 'on-failure': 'again', never: 'again' } as const;

export const RESTART_TABLE = {
  completed: { always: 'restart', 'on-failure': 'stop', never: 'stop' },
  error: FAILURE,
  oom: FAILURE,
  panic: FAILURE,
  signal: FAILURE,
  unhealthy: FAILURE,
  'start-failed': FAILURE,
  // after a power cut all that is to run comes back, except what is to run once only
  vanished: FAILURE,
  stopped: ASKED_TO_STOP,
  killed: ASKED_TO_STOP,
  replaced: ASKED_TO_START,
  requested: ASKED_TO_START,
} as const satisfies Record<ExitReason, Record<RestartPolicy, RestartDecision>>;

export function afterExit(policy: RestartPolicy, reason: ExitReason): RestartDecision {
  return RESTART_TABLE[reason][policy];
}
