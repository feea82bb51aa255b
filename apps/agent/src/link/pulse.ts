/**
 * Keeps a quiet session alive, and finds out that it is dead: a ping when nothing was sent, or nothing heard, for a while; the
 * end when nothing was heard for two pings and a little. Where both sides talk anyway, it costs nothing.
 */
import type { Clock } from '@skerry/reconcile';

/** Routers on the way forget a quiet connection after minutes at the earliest; a controller takes us for gone after 30 s. */
export const PULSE_MS = 14_000;

export interface PulseOptions {
  readonly clock: Clock;
  readonly ping: () => void;
  /** Nobody is at the other end. */
  readonly dead: () => void;
}

export class Pulse {
  readonly #options: PulseOptions;
  #sentMs: number;
  #heardMs: number;
  #cancel: () => void;

  constructor(options: PulseOptions) {
    this.#options = options;
    this.#sentMs = this.#heardMs = options.clock.monotonicMs();
    this.#cancel = options.clock.after(PULSE_MS, () => this.#look());
  }

  sent(): void {
    this.#sentMs = this.#options.clock.monotonicMs();
  }

  heard(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
  }

  stop(): void {
    this.#cancel();
  }

  #look(): void {
    const { clock, ping, dead } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#heardMs > 2.1 * PULSE_MS) {
      dead();
      return;
    }
    const quietMs = nowMs - Math.min(this.#sentMs, this.#heardMs);
    if (quietMs >= PULSE_MS) {
      ping();
      this.#sentMs = nowMs;
    }
    this.#cancel = clock.after(quietMs >= PULSE_MS ? PULSE_MS : PULSE_MS - quietMs, () => this.#look());
  }
}
