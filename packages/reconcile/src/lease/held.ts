/**
 * The taking side of leases: what this machine may run, and until when by its own clock. That clock must count the time in
 * which the machine was suspended. A lease counts from before it was asked for, so that no delay on the way makes it longer.
 */
export interface HeldLease {
  readonly epoch: number;
  readonly untilMs: number;
}

export class HeldLeases {
  readonly #nowMs: () => number;
  readonly #held = new Map<string, HeldLease>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** What is held with a grant that was asked for at `askedMs`; an answer that comes late, or out of order, takes nothing away. */
  extended(uid: string, epoch: number, askedMs: number, forMs: number): HeldLease {
    const known = this.#held.get(uid);
    if (known && known.epoch > epoch) return known;
    const earlier = known?.epoch === epoch ? known.untilMs : Number.NEGATIVE_INFINITY;
    return { epoch, untilMs: Math.max(earlier, askedMs + forMs) };
  }

  /** What is written down; also by an earlier life, since the machine's boot. */
  hold(uid: string, lease: HeldLease): void {
    this.#held.set(uid, lease);
  }

  /** 0: it must not run. */
  leftMs(uid: string, epoch: number): number {
    const lease = this.#held.get(uid);
    return lease?.epoch === epoch ? Math.max(0, lease.untilMs - this.#nowMs()) : 0;
  }

  drop(uid: string): void {
    this.#held.delete(uid);
  }
}
