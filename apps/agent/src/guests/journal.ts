/**
 * The only hand that writes an instance's record: moves of phase by the table, ends with their reasons, events.
 * Each change makes the record due for the ledger and the instance due for a report.
 */
import type { AgentEvent } from '@skerry/contract';
import {
  type ExitReason,
  formatMillis,
  type GuestExit,
  mayMove,
  type Phase,
  SkerryError,
} from '@skerry/model';
import { type BackoffPolicy, backoffAfter, type Clock, type RestartDecision } from '@skerry/reconcile';
import { type InstanceRecord, MAX_EXITS, MAX_PENDING_EVENTS } from '../ledger/record.ts';

export interface JournalOptions {
  readonly record: InstanceRecord;
  readonly clock: Clock;
  /** It is to be written and reported. */
  readonly changed: (record: InstanceRecord) => void;
  /** It is to be written only. */
  readonly acknowledged: (record: InstanceRecord) => void;
}

const EVENT_OF: Record<ExitReason, readonly [AgentEvent['type'], string]> = {
  completed: ['normal', 'Completed'],
  error: ['warning', 'Failed'],
  oom: ['warning', 'OutOfMemory'],
  panic: ['warning', 'Panicked'],
  signal: ['warning', 'Killed'],
  stopped: ['normal', 'Stopped'],
  killed: ['warning', 'Killed'],
  unhealthy: ['warning', 'Unhealthy'],
  'start-failed': ['warning', 'StartFailed'],
  vanished: ['warning', 'Vanished'],
  replaced: ['normal', 'Replaced'],
  requested: ['normal', 'Restarting'],
};

export class Journal {
  readonly record: InstanceRecord;
  readonly #clock: Clock;
  /** Monotonic, and so not in the record: beginning of the run, end of the pause. What the wall clock says may be set. */
  #ranFromMs: number | undefined;
  #pausedUntilMs: number | undefined;
  readonly #changed: (record: InstanceRecord) => void;
  readonly #acknowledged: (record: InstanceRecord) => void;

  constructor(options: JournalOptions) {
    this.record = options.record;
    this.#clock = options.clock;
    this.#changed = options.changed;
    this.#acknowledged = options.acknowledged;
  }

  /** Errors: internal, for a move that the table of phases does not have. */
  move(
    phase: Phase,
    change: Omit<Partial<InstanceRecord>, 'reason'> & { reason?: string | undefined } = {},
  ): void {
    const { record } = this;
    if (!mayMove(record.phase, phase)) {
      throw new SkerryError('internal', `${record.name} may not move from ${record.phase} to ${phase}`);
    }
    record.phase = phase;
    if (change.reason === undefined) delete record.reason;
    const { reason: _, ...rest } = change;
    this.set(change.reason === undefined ? rest : { ...rest, reason: change.reason });
  }

  set(change: Partial<InstanceRecord>): void {
    Object.assign(this.record, change);
    this.#changed(this.record);
  }

  clear(
    ...fields: (
      | 'nextTryAtMs'
      | 'attach'
      | 'guestAddresses'
      | 'pid'
      | 'reason'
      | 'startMs'
      | 'readyMs'
      | 'startedAtMs'
    )[]
  ): void {
    for (const field of fields) delete this.record[field];
    this.#changed(this.record);
  }

  event(type: AgentEvent['type'], reason: string, message: string): void {
    const { record } = this;
    record.events = [...record.events, { atMs: this.#clock.nowMs(), type, reason, message }].slice(
      -MAX_PENDING_EVENTS,
    );
    this.#changed(record);
  }

  /** The controller has these. */
  acknowledge(events: readonly AgentEvent[]): void {
    this.record.events = this.record.events.filter((event) => !events.includes(event));
    this.#acknowledged(this.record);
  }

  /** It was started by this agent, now. */
  beginRun(): void {
    this.#ranFromMs = this.#clock.monotonicMs();
  }

  /** Until the next try; 0 where there is nothing to wait for. `capMs`: no pause is longer. */
  pauseLeftMs(capMs: number): number {
    const { nextTryAtMs } = this.record;
    if (nextTryAtMs === undefined) return 0;
    // an agent before this one began the pause: its wall clock may have been another
    this.#pausedUntilMs ??=
      this.#clock.monotonicMs() + Math.min(capMs, Math.max(0, nextTryAtMs - this.#clock.nowMs()));
    return Math.max(0, this.#pausedUntilMs - this.#clock.monotonicMs());
  }

  /** How long the run took that ends now. */
  #ranMs(): number {
    const { life, startedAtMs } = this.record;
    if (life !== 'up') return 0;
    if (this.#ranFromMs !== undefined) return this.#clock.monotonicMs() - this.#ranFromMs;
    return startedAtMs === undefined ? 0 : this.#clock.nowMs() - startedAtMs;
  }

  /** What is to follow this end, and when; the phase moves to it unless the guest is not wanted running anyway. */
  judge(exit: GuestExit, decision: RestartDecision, backoff: BackoffPolicy, random: () => number): void {
    const { record } = this;
    const nowMs = this.#clock.nowMs();
    this.#keepExit(exit);
    this.event(...EVENT_OF[exit.reason], exit.message);
    const ranMs = this.#ranMs();
    this.#ranFromMs = undefined;
    this.#pausedUntilMs = undefined;
    const counts = exit.reason !== 'start-failed' && exit.reason !== 'replaced';
    this.clear('nextTryAtMs', 'pid');
    // the clock may have been set back since it ended, and an end is judged once
    const judgedAtMs = Math.max(nowMs, exit.atMs);
    Object.assign(record, { life: 'down', judgedAtMs, ready: false, health: 'unknown' });
    if (decision === 'restart') {
      const next = backoffAfter(backoff, record.failures, ranMs, random);
      const reason = `${exit.message}; next try in ${formatMillis(next.delayMs)} (failure ${next.failures} in a row)`;
      this.#moveTo('backoff', reason);
      this.#pausedUntilMs = this.#clock.monotonicMs() + next.delayMs;
      this.set({ verdict: 'start', failures: next.failures, nextTryAtMs: nowMs + next.delayMs });
    } else if (decision === 'again') {
      this.set({ verdict: 'start', failures: 0, reason: exit.message });
    } else {
      this.#moveTo(decision === 'fail' ? 'failed' : 'stopped', exit.message);
      this.set({ verdict: decision === 'fail' ? 'fail' : 'rest', failures: 0 });
    }
    if (counts && (decision === 'restart' || decision === 'again')) {
      this.set({ restartCount: record.restartCount + 1 });
    }
  }

  /** A guest that is being stopped goes on from there: there is no way from `stopping` to `backoff`. */
  #moveTo(phase: Phase, reason: string): void {
    if (mayMove(this.record.phase, phase)) this.move(phase, { reason });
    else this.set({ reason });
  }

  /** A start that fails again for the same reason is one entry, with its latest time. */
  #keepExit(exit: GuestExit): void {
    const [last, ...older] = this.record.exits;
    const same =
      last?.reason === 'start-failed' && exit.reason === 'start-failed' && last.message === exit.message;
    this.set({ exits: [exit, ...(same ? older : this.record.exits)].slice(0, MAX_EXITS) });
  }
}
