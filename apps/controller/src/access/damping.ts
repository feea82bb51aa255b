/**
 * How soon a client that was moved may be moved again by what nodes see: one that stands between two access points, or that two
 * nodes see at once, must not make the whole network follow it to and fro. Pure but for the time that it is told.
 *
 * Each handover that comes before the last one has been left alone for twice its hold doubles the hold, up to a minute; after
 * that long the client is trusted again.
 */
const FIRST_HOLD_MS = 1000;
const LONGEST_HOLD_MS = 60_000;

export class Damping {
  #holdMs = 0;
  #movedAtMs = Number.NEGATIVE_INFINITY;

  /** Until it may be moved. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#movedAtMs + this.#holdMs - nowMs);
  }

  moved(nowMs: number): void {
    const calm = this.isCalm(nowMs);
    this.#holdMs = calm ? FIRST_HOLD_MS : Math.min(LONGEST_HOLD_MS, this.#holdMs * 2);
    this.#movedAtMs = nowMs;
  }

  /** It may be forgotten. */
  isCalm(nowMs: number): boolean {
    return nowMs - this.#movedAtMs >= 3 * this.#holdMs;
  }
}
