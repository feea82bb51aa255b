/**
 * How soon a client that was moved may be moved again by what nodes see: one that stands between two access points, or that two
 * nodes see at once, must not make the whole network follow it to and fro. Pure but for the time that it is told.
 *
 * Each handover doubles the hold, up to a minute; each ten seconds without one, after the hold is over, halve it again.
 */
const FIRST_HOLD_MS = 1000;
const LONGEST_HOLD_MS = 60_000;
const HALVED_AFTER_MS = 10_000;
/** From the longest hold to less than the first one. */
const CALM_MS = 7 * HALVED_AFTER_MS;

export class Damping {
  #holdMs = 0;
  #movedAtMs = Number.NEGATIVE_INFINITY;

  /** Until it may be moved. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#movedAtMs + this.#holdMs - nowMs);
  }

  moved(nowMs: number): void {
    const halvings = Math.max(0, Math.floor(this.#quietMs(nowMs) / HALVED_AFTER_MS));
    const holdMs = (this.#holdMs * 2) / 2 ** halvings;
    this.#holdMs = Math.min(LONGEST_HOLD_MS, Math.max(FIRST_HOLD_MS, holdMs));
    this.#movedAtMs = nowMs;
  }

  /** It may be forgotten. */
  isCalm(nowMs: number): boolean {
    return this.#quietMs(nowMs) >= CALM_MS;
  }

  #quietMs(nowMs: number): number {
    return nowMs - this.#movedAtMs - this.#holdMs;
  }
}
