/** Medians, percentiles and runs that take turns. It measures nothing by itself. */

/** The value below which the given share (0 to 1) of the samples lies; nearest rank. NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

export function median(samples: readonly number[]): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Runs all contenders `runs` times, one of each in a round and each round beginning with another, so that what disturbs
 * the machine disturbs all of them. The first round warms up and is thrown away.
 */
export async function takingTurns<K extends string>(
  runs: number,
  contenders: Readonly<Record<K, (run: number) => Promise<number>>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(contenders) as K[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  for (let run = 0; run <= runs; run++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(run + turn) % names.length]!;
      const value = await contenders[name](run);
      if (run > 0) samples[name].push(value);
    }
  }
  return samples;
}

/** Three digits that count, and no more. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return 'none';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

export const durationRow = (name: string, samples: readonly number[]): string[] => [
  name,
  String(samples.length),
  ...[median(samples), percentile(samples, 0.99), Math.min(...samples), Math.max(...samples)].map(
    (value) => `${digits(value)} ms`,
  ),
];
export const DURATION_COLUMNS = ['', 'runs', 'median', 'p99', 'least', 'most'] as const;
