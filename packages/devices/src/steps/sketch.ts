/**
 * Percentiles in little memory: counts in buckets whose bounds grow by 2 %, so that an answer is within 1 % of a value that was
 * there (the DDSketch of Masson, Rim and Lee, 2019). The same values give the same sketch in any order.
 */
const GAMMA = 1.02;
const LOG = Math.log(GAMMA);
/** Below it a value counts as zero. */
const LEAST = 1e-9;

export class Sketch {
  readonly #buckets: Map<number, number>;
  #count: number;

  constructor(state: readonly (readonly [number, number])[] = []) {
    this.#buckets = new Map(state);
    this.#count = state.reduce((sum, [, count]) => sum + count, 0);
  }
  add(value: number): void {
    const key = Sketch.#keyOf(value);
    this.#buckets.set(key, (this.#buckets.get(key) ?? 0) + 1);
    this.#count++;
  }
  /** Values in their order: negative ones by falling size, then zero, then positive ones. */
  static #keyOf(value: number): number {
    const size = Math.abs(value);
    if (size < LEAST) return 0;
    const bucket = Math.ceil(Math.log(size / LEAST) / LOG) + 1;
    return value < 0 ? -bucket : bucket;
  }
  static #valueOf(key: number): number {
    if (key === 0) return 0;
    const size = (2 * LEAST * GAMMA ** (Math.abs(key) - 1)) / (GAMMA + 1);
    return key < 0 ? -size : size;
  }
  /** `share`: 0 to 1. */
  at(share: number): number | undefined {
    if (this.#count === 0) return undefined;
    let left = Math.max(1, Math.ceil(share * this.#count));
    for (const [key, count] of [...this.#buckets].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return Sketch.#valueOf(key);
    }
    return undefined;
  }
  state(): [number, number][] {
    return [...this.#buckets];
  }
}
