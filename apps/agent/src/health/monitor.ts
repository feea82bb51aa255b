/**
 * Looks after one run of one guest: a probe, the state machine, a timer for the next probe. It holds one timer and
 * nothing else while it waits, and tells its listener of the first success, of the
 * final failure, and of failures in between by their first and their end only.
 */
import { type Clock, type HealthState, healthAfter, nextCheckMs } from '@skerry/reconcile';
import type { HealthCheck } from '../guests/resolve.ts';
import type { HealthProbe, ProbeRequest } from './probe.ts';

export type HealthNews =
  | { readonly is: 'ready'; readonly atMonotonicMs: number }
  /** It is not ready for longer than most guests take, and this is why. */
  | { readonly is: 'waiting'; readonly message: string }
  /** A check failed after it was ready: no reason to end it yet, but one to lead nobody to it; and the end of that. */
  | { readonly is: 'failing'; readonly message: string }
  | { readonly is: 'well' }
  | { readonly is: 'unhealthy'; readonly message: string };

export interface MonitorOptions {
  readonly check: HealthCheck;
  readonly probe: HealthProbe;
  readonly subject: Pick<ProbeRequest, 'uid' | 'address' | 'runtime'>;
  readonly clock: Clock;
  /** Monotonic time of the guest's start. */
  readonly startedMs: number;
  readonly state: HealthState;
  readonly tell: (news: HealthNews) => void;
}

/** A connection that a booting guest has not answered by then is tried afresh. */
const FIRST_CONNECT_MS = 30;
const CONNECT_GROWTH = 1.3;
/** Until then nobody wonders; afterwards a new reason is told at twice the time of the one before, for each is a durable write. */
const FIRST_WORD_MS = 5000;

export class HealthMonitor {
  readonly #options: MonitorOptions;
  readonly #stop = new AbortController();
  #state: HealthState;
  #cancelTimer: (() => void) | undefined;
  #nextWordMs = FIRST_WORD_MS;
  #word = '';

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  /** The first look is at once for a guest that starts, after an interval for one that was ready before. */
  start(): void {
    if (this.#state.verdict === 'healthy') this.#schedule();
    else void this.#look();
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#stop.abort();
  }

  #schedule(): void {
    const delayMs = nextCheckMs(this.#options.check.policy, this.#state);
    if (delayMs === undefined) return;
    this.#cancelTimer = this.#options.clock.after(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { check, probe, subject, clock, startedMs, tell } = this.#options;
    const { policy, target } = check;
    const growing = FIRST_CONNECT_MS * CONNECT_GROWTH ** Math.min(this.#state.attempts, 60);
    const result = await probe({
      ...subject,
      target,
      timeoutMs: policy.timeoutMs,
      connectTimeoutMs:
        this.#state.verdict === 'unknown' ? Math.min(growing, policy.timeoutMs) : policy.timeoutMs,
      signal: this.#stop.signal,
    });
    if (this.#stop.signal.aborted) return;
    const { verdict: before, failuresInRow: failedBefore } = this.#state;
    const atMonotonicMs = clock.monotonicMs();
    this.#state = healthAfter(policy, this.#state, {
      ok: result.ok,
      sinceStartMs: atMonotonicMs - startedMs,
    });
    const { verdict, failuresInRow } = this.#state;
    if (verdict === 'healthy' && before !== 'healthy') tell({ is: 'ready', atMonotonicMs });
    if (verdict === 'unknown' && !result.ok) this.#tellWaiting(result.message, atMonotonicMs - startedMs);
    if (verdict === 'healthy' && before === 'healthy' && failedBefore !== failuresInRow) {
      if (result.ok) tell({ is: 'well' });
      else if (failedBefore === 0) tell({ is: 'failing', message: result.message });
    }
    if (verdict === 'unhealthy' && !result.ok) {
      tell({
        is: 'unhealthy',
        message: `its health check failed ${failuresInRow} times in a row: ${result.message}`,
      });
    }
    this.#schedule();
  }

  #tellWaiting(message: string, sinceStartMs: number): void {
    if (sinceStartMs < this.#nextWordMs || message === this.#word) return;
    this.#nextWordMs = 2 * sinceStartMs;
    this.#word = message;
    this.#options.tell({ is: 'waiting', message });
  }
}
