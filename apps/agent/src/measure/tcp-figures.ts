/** What the kernel knows of connections, looked at seldom and for all who ask at about the same time. */
import type { Clock } from '@skerry/reconcile';

/** `tcpRoundTrips` of `@skerry/host`: microseconds by address. */
export type TcpPort = (signal: AbortSignal) => Promise<ReadonlyMap<string, number>>;

const KEPT_MS = 4000;
const LIMIT_MS = 10_000;

export class TcpFigures {
  readonly #look: TcpPort;
  readonly #clock: Clock;
  #known: Promise<ReadonlyMap<string, number>> | undefined;
  #untilMs = 0;

  constructor(look: TcpPort, clock: Clock) {
    this.#look = look;
    this.#clock = clock;
  }

  /** Microseconds; undefined where nothing is known, or nobody can look. */
  async of(address: string): Promise<number | undefined> {
    const nowMs = this.#clock.monotonicMs();
    if (!this.#known || nowMs >= this.#untilMs) {
      this.#untilMs = nowMs + KEPT_MS;
      this.#known = this.#look(AbortSignal.timeout(LIMIT_MS)).catch(() => new Map());
    }
    return (await this.#known).get(address);
  }
}
