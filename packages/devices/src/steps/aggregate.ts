/** What a window tells of its messages: each aggregate by itself, with little state. */
import type { StreamStep } from '@skerry/model';
import { numberOf } from './expression.ts';
import { Sketch } from './sketch.ts';

export type WindowSpec = Extract<StreamStep, { window: unknown }>['window'];
export type Aggregates = WindowSpec['aggregates'];

interface Sums {
  count: number;
  sum: number;
  min: number;
  max: number;
  first?: { atMs: number; value: unknown };
  last?: { atMs: number; value: unknown };
  buckets?: [number, number][];
}
const PERCENTILE = /^p(\d+)$/;

/** Of one window, by the field that it counts. */
export class Tally {
  readonly #aggregates: Aggregates;
  readonly #fields: Map<string, Sums & { sketch?: Sketch }>;
  count = 0;

  constructor(aggregates: Aggregates, state?: unknown) {
    this.#aggregates = aggregates;
    const { count, fields } = (state ?? { count: 0, fields: [] }) as {
      count: number;
      fields: [string, Sums][];
    };
    this.count = count;
    this.#fields = new Map(
      fields.map(([field, { buckets, ...sums }]) => [
        field,
        { ...sums, ...(buckets && { sketch: new Sketch(buckets) }) },
      ]),
    );
  }

  add(value: unknown, atMs: number): void {
    this.count++;
    for (const field of new Set(Object.values(this.#aggregates).map(({ of }) => of ?? ''))) {
      const number = numberOf(value, field || undefined);
      if (number === undefined) continue;
      const sums = this.#fields.get(field) ?? { count: 0, sum: 0, min: number, max: number };
      this.#fields.set(field, sums);
      sums.count++;
      sums.sum += number;
      sums.min = Math.min(sums.min, number);
      sums.max = Math.max(sums.max, number);
      if (!sums.first || atMs < sums.first.atMs) sums.first = { atMs, value: number };
      if (!sums.last || atMs >= sums.last.atMs) sums.last = { atMs, value: number };
      if (this.#percentiles(field)) {
        sums.sketch ??= new Sketch();
        sums.sketch.add(number);
      }
    }
  }
  #percentiles = (field: string): boolean =>
    Object.values(this.#aggregates).some(({ of, use }) => (of ?? '') === field && PERCENTILE.test(use));

  /** `lengthMs`: of the window, for rates. */
  results(lengthMs: number): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(this.#aggregates).map(([name, { of, use }]) => [name, this.#result(of, use, lengthMs)]),
    );
  }
  #result(of: string | undefined, use: string, lengthMs: number): unknown {
    const sums = this.#fields.get(of ?? '');
    const count = of === undefined ? this.count : (sums?.count ?? 0);
    if (use === 'count') return count;
    if (use === 'rate') return count / (lengthMs / 1000);
    if (!sums) return null;
    switch (use) {
      case 'mean':
        return sums.sum / sums.count;
      case 'sum':
        return sums.sum;
      case 'min':
        return sums.min;
      case 'max':
        return sums.max;
      case 'first':
        return sums.first?.value;
      case 'last':
        return sums.last?.value;
      default:
        // Within the least and the largest, which are known exactly.
        return Math.min(
          sums.max,
          Math.max(sums.min, sums.sketch?.at(Number(PERCENTILE.exec(use)![1]) / 100) ?? 0),
        );
    }
  }

  state(): unknown {
    const fields = [...this.#fields].map(([field, { sketch, ...sums }]) => [
      field,
      { ...sums, ...(sketch && { buckets: sketch.state() }) },
    ]);
    return { count: this.count, fields };
  }
}
