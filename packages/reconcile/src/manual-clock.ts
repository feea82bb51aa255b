/**
 * A clock that stands still until it is told to go on: for tests of everything that waits.
 */
import type { Clock } from './clock.ts';

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  readonly #originMs: number;
  /** How far the wall clock was set away from where it would be. */
  #jumpedMs = 0;
  #order = 0;
  #timers: Timer[] = [];

  constructor(nowMs = Date.UTC(2024, 0, 1)) {
    this.#nowMs = nowMs;
    this.#originMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs + this.#jumpedMs;
  }

  /** Somebody sets the machine's time, forward or (negative) back: no timer and no monotonic time notices. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#originMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Timers that wait: zero means that nothing costs anything. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Milliseconds until the next timer is due; undefined where there is none. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next && next.atMs - this.#nowMs;
  }

  /** Goes on by `ms`; timers run in the order of their time, and what they set off comes to rest between two of them. */
  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    for (let next = this.#next(); next && next.atMs <= until; next = this.#next()) {
      const due = next;
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      this.#timers = this.#timers.filter((other) => other !== due);
      due.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = until;
  }

  #next(): Timer | undefined {
    let best: Timer | undefined;
    for (const timer of this.#timers) {
      if (!best || timer.atMs < best.atMs || (timer.atMs === best.atMs && timer.order < best.order))
        best = timer;
    }
    return best;
  }
}
