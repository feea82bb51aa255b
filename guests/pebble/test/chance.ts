/** Pseudo-random numbers that a seed repeats, so that a failing run can be run again (mulberry32). */
export type Chance = () => number;

export function chance(seed: number): Chance {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A whole number from 0 to below `end`. */
export function below(next: Chance, end: number): number {
  return Math.floor(next() * end);
}

export function pick<T>(next: Chance, from: readonly T[]): T {
  return from[below(next, from.length)]!;
}
