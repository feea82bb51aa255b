/**
 * Keeps something going that may fail at any time (an engine, a link): run it, and when it ends, wait and run it again.
 */
import { asSkerryError, type SkerryError } from '@skerry/model';
import { type BackoffPolicy, backoffAfter, SERVICE_BACKOFF } from './backoff.ts';
import { type Clock, pause } from './clock.ts';

export interface SuperviseOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly policy?: BackoffPolicy;
  readonly random?: () => number;
  /** Works until it fails or ends; both lead to the next try. Calls `up` when it has begun to work. */
  readonly run: (up: () => void) => Promise<void>;
  readonly onDown: (error: SkerryError | undefined, retryInMs: number) => void;
}

/** Resolves when `signal` is aborted; never throws. */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { clock, signal } = options;
  let failures = 0;
  while (!signal.aborted) {
    let upAtMs: number | undefined;
    let error: SkerryError | undefined;
    try {
      await options.run(() => {
        upAtMs = clock.monotonicMs();
      });
    } catch (thrown) {
      error = asSkerryError(thrown);
    }
    if (signal.aborted) return;
    const workedMs = upAtMs === undefined ? 0 : clock.monotonicMs() - upAtMs;
    const next = backoffAfter(options.policy ?? SERVICE_BACKOFF, failures, workedMs, options.random);
    failures = next.failures;
    options.onDown(error, next.delayMs);
    await pause(clock, next.delayMs, signal).catch(() => undefined); // aborted: the loop's condition sees it
  }
}
