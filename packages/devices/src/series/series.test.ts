// The time series of a node, on the real file system.
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SeriesPoint } from '@skerry/contract';
import fc from 'fast-check';
import { parquetReadObjects } from 'hyparquet';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Outgoing } from '../ports.ts';
import { csvCell } from './csv.ts';
import { openSeries, type SeriesStore } from './store.ts';

const DAY = 86_400_000;
const NOON = Date.parse('2026-06-15T12:00:00Z');
const signal = AbortSignal.timeout(600_000);

let folder: string;
let nowMs: number;
let store: SeriesStore;
const open = (sizeBytes = 64 * 2 ** 20) => openSeries(folder, { sizeBytes, now: () => nowMs });
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-series-'));
  nowMs = NOON;
  store = await open();
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

let nextId = 0;
const message = (atMs: number, value: unknown, more: Partial<Outgoing> = {}): Outgoing => ({
  ...{ id: `n/${nextId++}`, project: 'default', device: 'thermo', topic: 't', atMs },
  ...{ payload: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), ...more },
});
async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}
const put = (batch: Outgoing[], name = 'temps', project = 'default', options = {}) =>
  store.sink(project, name, options).deliver(batch, signal);
const raw = (more = {}) => all(store.query({ project: 'default', series: 'temps', ...more }));
const bytesIn = (path: string): number =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
const files = () =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
    .sort();

test('a number is the field value; of an object each path to a number is a field; a repetition changes nothing', async () => {
  const batch = [
    message(NOON, 21.5),
    message(NOON + 1, { reading: { celsius: 20, text: 'x' }, list: [1], ok: true, volts: 3.3 }),
  ];
  await put(batch);
  await put(batch);
  expect(await raw()).toEqual([
    { device: 'thermo', field: 'value', atMs: NOON, value: 21.5 },
    { device: 'thermo', field: 'reading.celsius', atMs: NOON + 1, value: 20 },
    { device: 'thermo', field: 'volts', atMs: NOON + 1, value: 3.3 },
  ]);
  expect(
    await all(store.query({ project: 'default', series: 'temps', stepMs: 60_000, aggregate: 'count' })),
  ).toEqual([
    { device: 'thermo', field: 'value', atMs: NOON, value: 1 },
    { device: 'thermo', field: 'reading.celsius', atMs: NOON, value: 1 },
    { device: 'thermo', field: 'volts', atMs: NOON, value: 1 },
  ]);
  expect(store.status()).toMatchObject({ points: 3, refused: 0 });
  await store.close();
  store = await open();
  await put(batch);
  expect(store.status().points).toBe(0);
  expect(await raw()).toHaveLength(3);
});

test('only the fields that are asked for are kept', async () => {
  await put([message(NOON, { a: 1, b: { c: 2 }, d: 'x' })], 'temps', 'default', {
    fields: ['b.c', 'd', '__proto__.e'],
  });
  expect(await raw()).toEqual([{ device: 'thermo', field: 'b.c', atMs: NOON, value: 2 }]);
  expect(store.status().refused).toBe(1);
});

test('what can not be stored is counted and is not fatal: no JSON, no number, infinite, times of 1970 and 2100', async () => {
  await put([
    ...[message(0, 1), message(Date.parse('2100-01-01'), 1), message(Number.NaN, 1), message(-5, 1)],
    ...[message(NOON, '{bad'), message(NOON, '1e999'), message(NOON, { a: 'x' }), message(NOON, 'null')],
    message(NOON, `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`),
    message(NOON, 7),
  ]);
  expect(await raw()).toEqual([{ device: 'thermo', field: 'value', atMs: NOON, value: 7 }]);
  expect(store.status().refused).toBe(9);
});

test('steps answer what a plain calculation over all points does, late ones included, from each level', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          atMs: fc.integer({ min: NOON - 2 * DAY, max: NOON }),
          device: fc.constantFrom('a', 'b'),
          value: fc.integer({ min: -1000, max: 1000 }),
        }),
        { minLength: 1, maxLength: 60 },
      ),
      fc.constantFrom(1000, 60_000, 300_000, 3_600_000, 7_200_000),
      fc.constantFrom('mean', 'min', 'max', 'sum', 'count', 'last' as const),
      async (points, stepMs, aggregate) => {
        const series = `s${nextId++}`;
        // Of the same millisecond the last one counts; that order is not promised, so each has a time of its own.
        const own = points.filter((point, at) => points.findIndex(({ atMs }) => atMs === point.atMs) === at);
        for (let at = 0; at < own.length; at += 20)
          await put(
            own.slice(at, at + 20).map(({ atMs, device, value }) => message(atMs, value, { device })),
            series,
          );
        const buckets = new Map<string, typeof own>();
        for (const point of own) {
          const key = `${Math.floor(point.atMs / stepMs) * stepMs} ${point.device}`;
          buckets.set(key, [...(buckets.get(key) ?? []), point]);
        }
        const wanted = [...buckets].map(([key, inside]) => {
          const values = inside.map(({ value }) => value);
          const sum = values.reduce((a, b) => a + b, 0);
          const last = inside.reduce((a, b) => (b.atMs >= a.atMs ? b : a)).value;
          const each = {
            ...{ sum, last, count: values.length, mean: sum / values.length },
            ...{ min: Math.min(...values), max: Math.max(...values) },
          };
          return `${key} ${each[aggregate as keyof typeof each]}`;
        });
        const found = await all(
          store.query({ project: 'default', series, stepMs, aggregate: aggregate as 'mean' }),
        );
        expect(found.map(({ atMs, device, value }) => `${atMs} ${device} ${value}`).sort()).toEqual(
          wanted.sort(),
        );
        expect(found.map(({ atMs }) => atMs)).toEqual(found.map(({ atMs }) => atMs).sort((a, b) => a - b));
      },
    ),
    { numRuns: 25 },
  );
}, 60_000);

test('a range has its beginning and not its end; devices, fields and a limit choose', async () => {
  const batch = [0, 1, 2, 3].flatMap((n) =>
    ['a', 'b', 'c'].map((device) => message(NOON + n * 1000, { x: n, y: -n }, { device })),
  );
  await put(batch);
  expect(await raw({ devices: ['a', 'c'], fields: ['x'], fromMs: NOON + 1000, toMs: NOON + 3000 })).toEqual(
    [1, 2].flatMap((n) =>
      ['a', 'c'].map((device) => ({ device, field: 'x', atMs: NOON + n * 1000, value: n })),
    ),
  );
  expect(await raw({ limit: 5 })).toHaveLength(5);
  expect(await all(store.last('default', 'temps'))).toHaveLength(6);
  expect(
    (await all(store.last('default', 'temps'))).find(({ device, field }) => device === 'b' && field === 'y'),
  ).toEqual({ device: 'b', field: 'y', atMs: NOON + 3000, value: -3 });
});

test('raw points go after their retention, minutes after 90 days, hours after 2 years; the space is given back', async () => {
  const many = (atMs: number) => Array.from({ length: 4000 }, (_, n) => message(atMs + n * 1000, n));
  await put(many(NOON - 3 * DAY), 'short', 'default', { retentionMs: DAY });
  await put(many(NOON - 3 * DAY), 'temps');
  const before = bytesIn(folder);
  const minute = { stepMs: 60_000, aggregate: 'count' as const };
  const counted = async (query: { stepMs: number; aggregate: 'count' }, series: string) =>
    (await all(store.query({ project: 'default', series, ...query }))).reduce(
      (sum, { value }) => sum + value,
      0,
    );
  await store.tidy();
  expect(await all(store.query({ project: 'default', series: 'short' }))).toEqual([]);
  expect(await raw()).toHaveLength(4000);
  expect(await counted(minute, 'short')).toBe(4000);
  nowMs += 10 * DAY;
  await store.tidy();
  expect(await raw()).toEqual([]);
  expect(bytesIn(folder)).toBeLessThan(before / 3);
  nowMs += 100 * DAY;
  await store.tidy();
  expect(await counted(minute, 'temps')).toBe(0);
  expect(await counted({ stepMs: 3_600_000, aggregate: 'count' }, 'temps')).toBe(4000);
  nowMs += 800 * DAY;
  // Nothing more is written: it is done when it is opened.
  await store.close();
  store = await open();
  await store.tidy();
  expect(files()).toEqual([]);
});

test('the bound on disk holds after every batch: the oldest go first, and are counted', async () => {
  await store.close();
  const sizeBytes = 2 * 2 ** 20;
  store = await open(sizeBytes);
  let sent = 0;
  for (let n = 0; n < 240; n++) {
    // Three days of the past, then one that has to make room within itself.
    const dayMs = NOON - Math.max(0, 3 - Math.floor(n / 20)) * DAY;
    await put(
      Array.from({ length: 500 }, (_, i) =>
        message(dayMs - 3_600_000 + n * 20_000 + i * 20, i, { device: `d${i % 50}` }),
      ),
    );
    sent += 500;
    expect(bytesIn(folder)).toBeLessThanOrEqual(sizeBytes);
  }
  const { points, droppedBySize } = store.status();
  expect(points).toBe(sent);
  expect(droppedBySize).toBeGreaterThan(0);
  const [about] = await store.list('default');
  expect((about?.points ?? 0) + droppedBySize).toBe(sent);
  const newest = await all(store.query({ project: 'default', series: 'temps', fromMs: NOON - 3_600_000 }));
  expect(newest.at(-1)?.value).toBe(499);
}, 60_000);

test('a damaged file is set aside and counted; other days go on, and so does that day', async () => {
  await put([message(NOON - DAY, 1), message(NOON, 2)]);
  await store.close();
  const path = join(folder, 'default', `${new Date(NOON - DAY).toISOString().slice(0, 10)}.sqlite`);
  const handle = openSync(path, 'r+');
  writeSync(handle, Buffer.alloc(statSync(path).size, 0x5a), 0);
  closeSync(handle);
  const troubles: string[] = [];
  store = await openSeries(folder, {
    sizeBytes: 2 ** 26,
    now: () => nowMs,
    trouble: (text) => troubles.push(text),
  });
  expect(await raw()).toEqual([{ device: 'thermo', field: 'value', atMs: NOON, value: 2 }]);
  expect(troubles).toEqual(['the time series of 2026-06-14 are damaged and were set aside']);
  expect(store.status().damaged).toBe(1);
  await put([message(NOON - DAY + 1, 3)]);
  expect((await raw()).map(({ value }) => value)).toEqual([3, 2]);
});

test('projects never see each other; names are names, whatever is in them', async () => {
  const odd = ["'; DROP TABLE points; --", '../../etc', 'a\u0000b', '"', '=1+1', 'ü/ñ %', '%', '.', '..', ''];
  for (const [n, name] of odd.entries())
    await put([message(NOON, { [name]: n }, { device: name, project: name })], name, name);
  for (const [n, name] of odd.entries()) {
    expect(await all(store.query({ project: name, series: name, devices: [name] }))).toEqual([
      { device: name, field: name, atMs: NOON, value: n },
    ]);
    expect(await store.list(name)).toHaveLength(1);
  }
  expect(readdirSync(folder)).toHaveLength(odd.length);
  await store.remove(odd[0]!);
  expect(await store.list(odd[0]!)).toEqual([]);
  expect(readdirSync(folder)).toHaveLength(odd.length - 1);
  await expect(put([message(NOON, 1, { project: 'other' })])).rejects.toThrow('other');
});

test('a clock that is set back takes nothing away and refuses nothing', async () => {
  await put([message(NOON, 1)]);
  nowMs = NOON - 5 * DAY;
  await put([message(NOON + 1, 2), message(nowMs, 3)]);
  await store.tidy();
  expect((await raw()).map(({ value }) => value)).toEqual([3, 1, 2]);
  expect(store.status().refused).toBe(0);
});

test('a list tells devices, fields, points, times and bytes of each series', async () => {
  await put([message(NOON - DAY, { a: 1 }), message(NOON, { a: 1, b: 2 }, { device: 'other' })]);
  await put([message(NOON, 5)], 'second');
  const [second, temps] = await store.list('default');
  expect(second).toMatchObject({ name: 'second', devices: 1, fields: ['value'], points: 1 });
  expect(temps).toMatchObject({ name: 'temps', devices: 2, fields: ['a', 'b'], points: 3, toMs: NOON });
  expect((second?.bytes ?? 0) + (temps?.bytes ?? 0)).toBeLessThanOrEqual(bytesIn(folder) + 2);
  expect(await store.list('nobody')).toEqual([]);
});

test('CSV is quoted by RFC 4180, with times in UTC, and no name begins a formula', async () => {
  await put([
    message(NOON, { 'a,"b"': 1.5 }, { device: '=cmd()' }),
    message(NOON + 1, -2, { device: 'x\ny' }),
  ]);
  const text = Buffer.concat(
    await all(store.export({ project: 'default', series: 'temps' }, 'csv')),
  ).toString();
  expect(text).toBe(
    `time,device,field,value\r\n2026-06-15T12:00:00.000Z,'=cmd(),"a,""b""",1.5\r\n2026-06-15T12:00:00.001Z,"x\ny",value,-2\r\n`,
  );
  fc.assert(fc.property(fc.string(), (name) => !/^"?[=+\-@\t\r\n]/.test(csvCell(name))));
});

test('Parquet is read back as it was written, in groups of rows', async () => {
  const count = 45_000;
  for (let at = 0; at < count; at += 5000)
    await put(
      Array.from({ length: 5000 }, (_, n) => message(NOON + at + n, (at + n) / 8, { device: `d${n % 7}` })),
    );
  const pieces = await all(store.export({ project: 'default', series: 'temps' }, 'parquet'));
  expect(pieces.length).toBeGreaterThan(2);
  const bytes = Buffer.concat(pieces);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const rows = (await parquetReadObjects({ file })) as {
    time: Date;
    device: string;
    field: string;
    value: number;
  }[];
  expect(rows.map(({ time, ...rest }) => ({ ...rest, atMs: time.getTime() }))).toEqual(await raw());
  const none = Buffer.concat(await all(store.export({ project: 'default', series: 'none' }, 'parquet')));
  expect(none.subarray(0, 4).toString() + none.subarray(-4).toString()).toBe('PAR1PAR1');
}, 60_000);

test('the verbs of a node are answered', async () => {
  await put([message(NOON, 1)]);
  const query = { project: 'default', series: 'temps' };
  const point: SeriesPoint = { device: 'thermo', field: 'value', atMs: NOON, value: 1 };
  expect(await all(store.call({ verb: 'series-list', project: 'default' }, signal))).toMatchObject([
    { name: 'temps' },
  ]);
  expect(await all(store.call({ verb: 'series-query', query }, signal))).toEqual([point]);
  expect(await all(store.call({ verb: 'series-last', ...query }, signal))).toEqual([point]);
  const exported = (await all(store.call({ verb: 'series-export', query, format: 'csv' }, signal))) as {
    data: string;
  }[];
  expect(Buffer.from(exported.map(({ data }) => data).join(''), 'base64').toString()).toContain(
    'thermo,value,1',
  );
  expect(
    readFileSync(join(folder, 'default', '2026-06-15.sqlite'))
      .subarray(0, 6)
      .toString(),
  ).toBe('SQLite');
});
