/**
 * Time as a port: the wall for people and records, a monotonic one for measuring, and one-shot timers.
 * Nothing in this package reads a clock of its own.
 */
import { SkerryError } from '@skerry/model';

export interface Clock {
  /** Milliseconds since the epoch. May jump when the machine's time is set. */
  nowMs(): number;
  /** Milliseconds, with fractions, from an arbitrary point; never goes back. */
  monotonicMs(): number;
  /** Calls `run` once after `delayMs`; returns what calls it off. */
  after(delayMs: number, run: () => void): () => void;
}

/** setTimeout takes at most 2^31 - 1 ms and fires at once beyond it. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`. Errors: cancelled. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      cancel();
      reject(new SkerryError('cancelled', 'a pause was cut short: cancelled', { cause: signal.reason }));
    };
    if (signal.aborted) return reject(new SkerryError('cancelled', 'cancelled before a pause'));
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
