/**
 * The giving side of leases: who may run what may run once only, and from when it is sure that nobody does any more. In
 * memory; a giver that was started again takes it that a lease it can not remember was given just before.
 *
 *   opened (nobody has it) --granted to a holder--> given --over, by this clock--> free for another holder
 *   unknown (given in a life before) --a holder that has it still, or its whole time over--> given
 */

/** No clock runs faster or slower than time by more than a fiftieth: two of them part by less than a twentieth. */
const CLOCK_SHARE = 0.05;
/** For ending a guest when its time is over. */
const KILL_MS = 1000;

/** After this time from the moment at which a lease was given for `forMs`, its holder has surely ended what it ran. */
export const surelyOverMs = (forMs: number): number => Math.ceil(forMs * (1 + CLOCK_SHARE)) + KILL_MS;

/** The longest lease that is surely over after `withinMs`; at least a second. */
export const leaseMsWithin = (withinMs: number): number =>
  Math.max(1000, Math.floor((withinMs - KILL_MS) / (1 + CLOCK_SHARE)));

export interface Lease {
  /** Of the copy; another copy has another one, and a higher epoch. */
  readonly uid: string;
  readonly forMs: number;
}

export interface Claimant {
  /** A machine since its boot: a copy of its data elsewhere is another one. */
  readonly holder: string;
  /** Whether it has the lease at the moment of asking. */
  readonly holds: boolean;
}

export class LeaseGrantor {
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  readonly #given = new Map<string, { readonly holder: string | undefined; readonly overMs: number }>();
  /** When each was. */
  readonly #closed = new Map<string, number>();

  /** `nowMs`: a clock that nobody sets. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
  }

  /** A lease of this uid was never given to anybody. */
  open(uid: string): void {
    this.#given.set(uid, { holder: undefined, overMs: this.#nowMs() });
  }

  /** Whether the claimant has the lease, for `forMs` from the moment at which it began to ask. */
  grant({ uid, forMs }: Lease, { holder, holds }: Claimant): boolean {
    const closedMs = this.#closed.get(uid);
    if (closedMs !== undefined && this.#nowMs() - closedMs < surelyOverMs(forMs)) return false;
    const given = this.#given.get(uid);
    const mine = given ? given.holder === holder : holds;
    if (!mine && this.leftMs({ uid, forMs }) > 0) return false;
    this.#given.set(uid, { holder, overMs: this.#nowMs() + surelyOverMs(forMs) });
    return true;
  }

  /** How long somebody may still run it; 0: surely nobody does. */
  leftMs({ uid, forMs }: Lease): number {
    const overMs = this.#given.get(uid)?.overMs ?? this.#startedMs + surelyOverMs(forMs);
    return Math.max(0, overMs - this.#nowMs());
  }

  /** Another copy is to take its place: it is not granted, unless it is still asked for after a whole lease time. */
  close(uid: string): void {
    this.#closed.set(uid, this.#nowMs());
  }

  reopen(uid: string): void {
    this.#closed.delete(uid);
  }

  /** There is no such copy any more. */
  forget(uid: string): void {
    this.#given.delete(uid);
    this.#closed.delete(uid);
  }
}
