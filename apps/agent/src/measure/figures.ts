/** What is made of the last round trips to one target: robust against single late answers, and forgetting. Pure. */

export interface Figures {
  /** Microseconds; of those that were answered. */
  readonly medianUs: number;
  readonly leastUs: number;
  /** Of the last questions, the share that nobody answered. */
  readonly lossShare: number;
}

/** A window of so many questions: a minute and a half of a calm target, sixteen seconds of an eager one. */
export const WINDOW = 16;

export class RoundTripWindow {
  /** Oldest first; undefined: lost. */
  #samples: (number | undefined)[] = [];

  add(us: number | undefined): void {
    this.#samples.push(us);
    if (this.#samples.length > WINDOW) this.#samples.shift();
  }

  /** Answers that did not come, since the last that did. */
  get lostInARow(): number {
    let count = 0;
    for (let at = this.#samples.length - 1; at >= 0 && this.#samples[at] === undefined; at--) count++;
    return count;
  }

  /** Undefined while none was answered. */
  read(): Figures | undefined {
    const answered = this.#samples.filter((us) => us !== undefined).sort((a, b) => a - b);
    if (answered.length === 0) return undefined;
    const middle = answered.length >> 1;
    const medianUs =
      answered.length % 2 === 1 ? answered[middle]! : (answered[middle - 1]! + answered[middle]!) / 2;
    const lossShare = 1 - answered.length / this.#samples.length;
    return { medianUs: Math.round(medianUs), leastUs: answered[0]!, lossShare };
  }
}

/** Less is noise, and not worth telling. */
const WORTH_SHARE = 0.1;
const WORTH_US = 500;
const WORTH_LOSS = 0.1;

/** Whether somebody who knows `told` would want to hear `now`. */
export function isNews(told: Figures | undefined, now: Figures): boolean {
  if (!told) return true;
  const differs = Math.abs(now.medianUs - told.medianUs);
  if (differs > Math.max(WORTH_US, told.medianUs * WORTH_SHARE)) return true;
  return Math.abs(now.lossShare - told.lossShare) > WORTH_LOSS;
}
