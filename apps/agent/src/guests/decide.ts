/**
 * What is to be done with an instance next: a pure function of what is wanted, what is recorded and what is there.
 * The actor performs the answer and asks again, until it is `none` or `wait`.
 *
 *   ends are judged first (one judgement per end), then the wish is looked at; `hold` touches nothing that runs
 */
import type { GuestExit, Phase, RuntimeKind } from '@skerry/model';
import type { GuestState } from '@skerry/runtimes';
import type { InstanceRecord } from '../ledger/record.ts';

export interface Want {
  readonly run: 'running' | 'stopped';
  readonly runtime: RuntimeKind;
  readonly incarnation: string;
  readonly restarts: number;
  /** Why it may not run now, though it is to: another copy may. */
  readonly withheld?: string;
  /** Identity of the attach request; '' for none. */
  readonly attachKey: string;
}

export interface Situation {
  /** Undefined: the guest and all of it is to be gone. */
  readonly want: Want | undefined;
  readonly record: Readonly<InstanceRecord>;
  readonly have: GuestState;
  readonly attachedKey: string;
  /** What the runtime said of an end that left nothing behind. */
  readonly heardExit: GuestExit | undefined;
  /** Why the health check gave up on the guest that runs now. */
  readonly unhealthy: string | undefined;
  /** The ledger went back to an older state: start what is missing, touch nothing that runs. */
  readonly hold: boolean;
  readonly nowMs: number;
  /** What is left of the pause before the next try. */
  readonly pauseLeftMs: number;
}

export type Action =
  | { readonly do: 'none' }
  | { readonly do: 'wait'; readonly delayMs: number }
  | { readonly do: 'judge'; readonly exit: GuestExit }
  | { readonly do: 'adopt' }
  | { readonly do: 'start' }
  | { readonly do: 'reattach' }
  /** Ends the guest for this reason; what follows is judged from it. */
  | {
      readonly do: 'end';
      readonly reason: 'stopped' | 'unhealthy' | 'requested' | 'replaced';
      readonly why: string;
    }
  /** Takes the guest of another runtime away. */
  | { readonly do: 'clear' }
  | { readonly do: 'rest'; readonly phase: Extract<Phase, 'stopped' | 'failed'> }
  | { readonly do: 'delete' };

/** Times of an end come from engines that round differently; no guest starts and ends again within it. */
const CLOCK_SLACK_MS = 50;

export function decide(now: Situation): Action {
  const { want, record, have } = now;
  const end = unjudgedEnd(now);
  if (end) return { do: 'judge', exit: end };
  if (have.state === 'running' && record.life !== 'up') return { do: 'adopt' };
  if (want?.withheld !== undefined) return whileWithheld(now, want.withheld);
  if (now.hold && have.state === 'running') return { do: 'none' };
  if (!want) return { do: 'delete' };
  if (want.run === 'stopped') {
    if (have.state === 'running') return { do: 'end', reason: 'stopped', why: 'asked to stop' };
    // a guest that rests because it is done (verdict `rest`) is to begin anew when it is wanted again
    const resting = record.phase === 'stopped' && now.attachedKey === '' && record.verdict === 'start';
    return resting ? { do: 'none' } : { do: 'rest', phase: 'stopped' };
  }
  return have.state === 'running' ? whileRunning(now, want) : whileNotRunning(now, want);
}

/** An end that nobody has judged yet. */
function unjudgedEnd({ record, have, heardExit, nowMs }: Situation): GuestExit | undefined {
  const wasUp = record.life === 'up';
  // an end that was judged before may be seen again, as long as its guest has not been removed: its time tells
  if (have.state === 'exited') {
    return wasUp || have.exit.atMs > record.judgedAtMs + CLOCK_SLACK_MS ? have.exit : undefined;
  }
  if (!wasUp || have.state === 'running') return undefined;
  return heardExit ?? { reason: 'vanished', message: 'it is gone and nobody saw it end', atMs: nowMs };
}

const AT_REST: ReadonlySet<Phase> = new Set(['pending', 'scheduled', 'stopped', 'failed']);

/** No hold protects it: where it runs on, two of it may. */
function whileWithheld({ record, have, attachedKey }: Situation, why: string): Action {
  if (have.state === 'running') return { do: 'end', reason: 'stopped', why };
  return AT_REST.has(record.phase) && attachedKey === '' ? { do: 'none' } : { do: 'rest', phase: 'stopped' };
}

function whileRunning({ record, attachedKey, unhealthy }: Situation, want: Want): Action {
  if (record.incarnation !== want.incarnation || record.runtime !== want.runtime) {
    return want.restarts > record.restartsSeen
      ? { do: 'end', reason: 'requested', why: 'a restart was asked for' }
      : { do: 'end', reason: 'replaced', why: 'its spec changed' };
  }
  if (unhealthy !== undefined) return { do: 'end', reason: 'unhealthy', why: unhealthy };
  return attachedKey === want.attachKey ? { do: 'none' } : { do: 'reattach' };
}

function whileNotRunning({ record, have, pauseLeftMs, attachedKey }: Situation, want: Want): Action {
  if (have.state !== 'absent' && record.runtime !== want.runtime) return { do: 'clear' };
  if (record.incarnation !== want.incarnation || record.life !== 'down') return { do: 'start' };
  if (record.verdict === 'start') {
    return pauseLeftMs > 0 ? { do: 'wait', delayMs: pauseLeftMs } : { do: 'start' };
  }
  const phase = record.verdict === 'rest' ? 'stopped' : 'failed';
  return record.phase === phase && attachedKey === '' ? { do: 'none' } : { do: 'rest', phase };
}
