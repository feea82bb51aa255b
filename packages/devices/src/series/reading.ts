/** Reads days, one after the other, over connections of its own: nothing is held but the rows of one step of time. */
import { setImmediate as breathe } from 'node:timers/promises';
import type { SeriesPoint, SeriesQuery } from '@skerry/contract';
import Database from 'better-sqlite3';
import { HOUR_MS, MINUTE_MS } from './day-file.ts';
import { DAY_MS, dayStartMs } from './places.ts';

/** Others are served after so many rows. */
const ROWS_AT_ONCE = 2000;

export interface Day {
  readonly day: string;
  readonly path: string;
  /** Tells it from another that takes its place. */
  readonly inode: number;
}

/** Rows of one statement on one file. The file may be taken away meanwhile. */
export async function* rowsOf<Row>(
  path: string,
  sql: string,
  values: Record<string, unknown>,
  signal: AbortSignal,
): AsyncGenerator<Row> {
  // Not `readonly`: such a connection leaves the files of the write-ahead log behind.
  const db = new Database(path, { fileMustExist: true });
  try {
    db.pragma('query_only = ON');
    let rows = 0;
    for (const row of db.prepare(sql).iterate(values) as IterableIterator<Row>) {
      yield row;
      if (++rows % ROWS_AT_ONCE === 0) {
        await breathe();
        signal.throwIfAborted();
      }
    }
  } finally {
    db.close();
  }
}

interface Row {
  readonly device: string;
  readonly field: string;
  readonly at: number;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly last: number;
  readonly lastAt: number;
}

const POINT_COLUMNS =
  'p.value AS last, p.at AS lastAt, 1 AS count, p.value AS sum, p.value AS min, p.value AS max';
const SUM_COLUMNS = 'p.last, p.last_at AS lastAt, p.count, p.sum, p.min, p.max';

/** The coarsest level that a step is made of without rest. */
function levelOf(stepMs: number | undefined): 'points' | 'minutes' | 'hours' {
  if (stepMs !== undefined && stepMs % HOUR_MS === 0) return 'hours';
  return stepMs !== undefined && stepMs % MINUTE_MS === 0 ? 'minutes' : 'points';
}

function statement(query: SeriesQuery, table: 'points' | 'minutes' | 'hours') {
  const { devices, fields } = query;
  const among = (column: string, name: string) =>
    ` AND s.${column} IN (SELECT value FROM json_each(@${name}))`;
  const sql = `SELECT s.device, s.field, p.at, ${table === 'points' ? POINT_COLUMNS : SUM_COLUMNS}
    FROM ${table} AS p CROSS JOIN series AS s ON s.id = p.series
    WHERE p.at >= @from AND p.at < @to AND s.name = @name${devices ? among('device', 'devices') : ''}${fields ? among('field', 'fields') : ''}
    ORDER BY p.at, p.series`;
  const values = {
    name: query.series,
    ...(devices && { devices: JSON.stringify(devices) }),
    ...(fields && { fields: JSON.stringify(fields) }),
  };
  return { sql, values };
}

interface Bucket extends Row {
  readonly key: string;
}

const aggregated = (row: Row, aggregate: NonNullable<SeriesQuery['aggregate']>): number =>
  aggregate === 'mean' ? row.sum / row.count : row[aggregate];

/** Every number of `days`, oldest first; `broken` is told of a file that can not be read, and the others go on. */
export async function* pointsOf(
  query: SeriesQuery,
  days: readonly Day[],
  signal: AbortSignal,
  broken: (day: Day, error: unknown) => void,
): AsyncGenerator<SeriesPoint> {
  const { stepMs, limit = Number.POSITIVE_INFINITY, aggregate = 'mean' } = query;
  const down = (at: number, unit: number) => Math.floor(at / unit) * unit;
  const up = (at: number, unit: number) => Math.ceil(at / unit) * unit;
  const fromMs = query.fromMs ?? 0;
  const toMs = query.toMs ?? Number.MAX_SAFE_INTEGER;
  // Steps are whole: one that the range touches counts with all that is in it.
  const from = stepMs === undefined ? fromMs : down(fromMs, stepMs);
  const to = stepMs === undefined ? toMs : Math.min(up(toMs, stepMs), Number.MAX_SAFE_INTEGER);
  const { sql, values } = statement(query, levelOf(stepMs));
  let given = 0;
  let bucketAt = Number.NaN;
  let bucket = new Map<string, Bucket>();
  for (const day of days) {
    const start = dayStartMs(day.day);
    if (start + DAY_MS <= from || start >= to) continue;
    try {
      for await (const row of rowsOf<Row>(day.path, sql, { ...values, from, to }, signal)) {
        if (stepMs === undefined) {
          if (given++ >= limit) return;
          yield { device: row.device, field: row.field, atMs: row.at, value: row.last };
          continue;
        }
        const at = down(row.at, stepMs);
        if (at !== bucketAt) {
          for (const entry of bucket.values()) {
            if (given++ >= limit) return;
            yield {
              device: entry.device,
              field: entry.field,
              atMs: bucketAt,
              value: aggregated(entry, aggregate),
            };
          }
          bucket = new Map();
          bucketAt = at;
        }
        addRow(bucket, row);
      }
    } catch (error) {
      if (signal.aborted) throw error;
      broken(day, error);
    }
  }
  for (const entry of bucket.values()) {
    if (given++ >= limit) return;
    yield { device: entry.device, field: entry.field, atMs: bucketAt, value: aggregated(entry, aggregate) };
  }
}

function addRow(bucket: Map<string, Bucket>, row: Row): void {
  const key = `${row.device}\u0000${row.field}`;
  const before = bucket.get(key);
  if (!before) {
    bucket.set(key, { ...row, key });
    return;
  }
  const later = row.lastAt >= before.lastAt ? row : before;
  bucket.set(key, {
    ...before,
    count: before.count + row.count,
    sum: before.sum + row.sum,
    min: Math.min(before.min, row.min),
    max: Math.max(before.max, row.max),
    last: later.last,
    lastAt: later.lastAt,
  });
}

/** The newest of each device and field, newest days first. */
export async function* lastOf(
  series: string,
  days: readonly Day[],
  signal: AbortSignal,
  broken: (day: Day, error: unknown) => void,
): AsyncGenerator<SeriesPoint> {
  const told = new Set<string>();
  const sql = `SELECT s.device, s.field, max(p.last_at) AS atMs, p.last AS value FROM hours AS p
    JOIN series AS s ON s.id = p.series WHERE s.name = @series GROUP BY p.series`;
  for (const day of [...days].reverse()) {
    try {
      for await (const point of rowsOf<SeriesPoint>(day.path, sql, { series }, signal)) {
        const key = `${point.device}\u0000${point.field}`;
        if (told.has(key)) continue;
        told.add(key);
        yield point;
      }
    } catch (error) {
      if (signal.aborted) throw error;
      broken(day, error);
    }
  }
}

export interface SeriesSummary {
  readonly name: string;
  readonly devices: number;
  readonly fields: readonly string[];
  /** That are in it, also those of which only sums are left. */
  readonly points: number;
  readonly fromMs: number;
  readonly toMs: number;
  /** Its share of the files. */
  readonly bytes: number;
}

interface Share {
  readonly name: string;
  readonly device: string;
  readonly field: string;
  readonly points: number;
  readonly fromMs: number;
  readonly toMs: number;
}

export async function summaries(
  days: readonly Day[],
  bytesOf: (day: Day) => number,
  signal: AbortSignal,
  broken: (day: Day, error: unknown) => void,
): Promise<SeriesSummary[]> {
  const found = new Map<
    string,
    { devices: Set<string>; fields: Set<string>; points: number; fromMs: number; toMs: number; bytes: number }
  >();
  const sql = `SELECT s.name, s.device, s.field, sum(p.count) AS points, min(p.at) AS fromMs, max(p.last_at) AS toMs
    FROM hours AS p JOIN series AS s ON s.id = p.series GROUP BY p.series`;
  for (const day of days) {
    const inDay = new Map<string, number>();
    try {
      for await (const row of rowsOf<Share>(day.path, sql, {}, signal)) {
        const one = found.get(row.name) ?? {
          ...{ devices: new Set<string>(), fields: new Set<string>() },
          ...{ points: 0, fromMs: row.fromMs, toMs: row.toMs, bytes: 0 },
        };
        found.set(row.name, one);
        one.devices.add(row.device);
        one.fields.add(row.field);
        one.points += row.points;
        one.fromMs = Math.min(one.fromMs, row.fromMs);
        one.toMs = Math.max(one.toMs, row.toMs);
        inDay.set(row.name, (inDay.get(row.name) ?? 0) + row.points);
      }
    } catch (error) {
      if (signal.aborted) throw error;
      broken(day, error);
    }
    const all = [...inDay.values()].reduce((sum, points) => sum + points, 0);
    const bytes = bytesOf(day);
    for (const [name, points] of inDay) found.get(name)!.bytes += Math.round((bytes * points) / all);
  }
  return [...found]
    .map(([name, { devices, fields, ...rest }]) => ({
      ...{ name, devices: devices.size, fields: [...fields].sort() },
      ...rest,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
