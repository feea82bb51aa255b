/** What several nodes tell of one series, in order of time, as one. Nothing is held but the points of one time. */
import type { SeriesPoint, SeriesQuery } from '@skerry/contract';

type Aggregate = NonNullable<SeriesQuery['aggregate']>;
type Ask = (aggregate: Aggregate | undefined) => readonly AsyncIterable<SeriesPoint>[];

/** All points of the earliest time that any source has next, time after time. Each source is in order of time. */
async function* times(sources: readonly AsyncIterable<SeriesPoint>[]): AsyncGenerator<SeriesPoint[]> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(readers.map((reader) => reader.next()));
    for (;;) {
      let earliest = Number.POSITIVE_INFINITY;
      for (const head of heads) if (!head.done) earliest = Math.min(earliest, head.value.atMs);
      if (earliest === Number.POSITIVE_INFINITY) return;
      const points: SeriesPoint[] = [];
      for (const [at, reader] of readers.entries())
        for (let head = heads[at]!; !head.done && head.value.atMs === earliest; ) {
          points.push(head.value);
          head = await reader.next();
          heads[at] = head;
        }
      yield points;
    }
  } finally {
    await Promise.allSettled(readers.map((reader) => reader.return?.()));
  }
}

const keyOf = ({ device, field }: SeriesPoint) => JSON.stringify([device, field]);

/** Of a device that was at two nodes within one step; of `last` that of the node that was asked last. */
const COMBINE: Readonly<Record<Exclude<Aggregate, 'mean'>, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  count: (a, b) => a + b,
  min: Math.min,
  max: Math.max,
  last: (_, b) => b,
};

/** One point per step, device and field, in order of them. */
async function* combined(
  sources: readonly AsyncIterable<SeriesPoint>[],
  combine: (a: number, b: number) => number,
): AsyncGenerator<SeriesPoint> {
  for await (const points of times(sources)) {
    const found = new Map<string, SeriesPoint>();
    for (const point of points) {
      const before = found.get(keyOf(point));
      const value = before ? combine(before.value, point.value) : point.value;
      found.set(keyOf(point), { ...point, value });
    }
    for (const key of [...found.keys()].sort()) yield found.get(key)!;
  }
}

async function* means(ask: Ask): AsyncGenerator<SeriesPoint> {
  const counts = combined(ask('count'), COMBINE.count)[Symbol.asyncIterator]();
  let count: SeriesPoint | undefined = (await counts.next()).value;
  try {
    for await (const sum of combined(ask('sum'), COMBINE.sum)) {
      // Between both answers points may have come, or whole steps.
      const before = (one: SeriesPoint) =>
        one.atMs < sum.atMs || (one.atMs === sum.atMs && keyOf(one) < keyOf(sum));
      while (count && before(count)) count = (await counts.next()).value;
      if (count && count.atMs === sum.atMs && keyOf(count) === keyOf(sum))
        yield { ...sum, value: sum.value / count.value };
    }
  } finally {
    await counts.return?.(undefined);
  }
}

/** `ask` gives a source per node for an aggregate; `stepped`: steps of two nodes are made one. */
export async function* merged(
  ask: Ask,
  { stepped, aggregate = 'mean', limit }: { stepped: boolean; aggregate?: Aggregate; limit?: number },
): AsyncGenerator<SeriesPoint> {
  let source: AsyncIterable<SeriesPoint>;
  if (!stepped) source = flat(times(ask(undefined)));
  else if (aggregate === 'mean') source = means(ask);
  else source = combined(ask(aggregate), COMBINE[aggregate]);
  let given = 0;
  for await (const point of source) {
    yield point;
    if (++given === limit) return;
  }
}

async function* flat(groups: AsyncIterable<SeriesPoint[]>): AsyncGenerator<SeriesPoint> {
  for await (const points of groups) yield* points;
}
