// What may befall a folder of time series: kill -9, a full disk, very many series.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Outgoing } from '../ports.ts';
import { openSeries } from './store.ts';

const NOON = Date.parse('2026-06-15T12:00:00Z');
const signal = AbortSignal.timeout(600_000);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-series-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const open = (path = folder, sizeBytes = 2 ** 28) => openSeries(path, { sizeBytes, now: () => NOON });
const message = (n: number, device: string, value: unknown = n): Outgoing => ({
  ...{ id: `n/${n}`, project: 'default', device, topic: 't', atMs: NOON + n },
  payload: Buffer.from(JSON.stringify(value)),
});
const batchOf = (at: number, count: number) =>
  Array.from({ length: count }, (_, n) => message(at + n, `d${n % 9}`));
async function sumOf(points: AsyncIterable<{ readonly value: number }>): Promise<number> {
  let sum = 0;
  for await (const { value } of points) sum += value;
  return sum;
}
async function countOf(points: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of points) count++;
  return count;
}

test('killed at any time, what was said to be safe is there once, and its sums agree', async () => {
  const [data, program] = [join(folder, 'data'), join(folder, 'writer.mjs')];
  symlinkSync(
    fileURLToPath(new URL('../../../../node_modules', import.meta.url)),
    join(folder, 'node_modules'),
  );
  await build({
    entryPoints: [fileURLToPath(new URL('testing/writer.ts', import.meta.url))],
    ...{ outfile: program, bundle: true, platform: 'node', format: 'esm', logLevel: 'error' },
    ...{ conditions: ['@skerry/source'], external: ['better-sqlite3'] },
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  let acknowledged = 0;
  for (let round = 0; round < 5; round++) {
    // It begins two batches before what was acknowledged: as a queue does after a crash.
    const from = Math.max(0, acknowledged - 100);
    const child = fork(program, [data, String(from)], { execArgv: [] });
    try {
      child.on('message', (upTo: number) => {
        acknowledged = Math.max(acknowledged, upTo);
      });
      const wanted = acknowledged + 200 + round * 130;
      while (acknowledged < wanted) await once(child, 'message', { signal });
    } finally {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    const store = await open(data);
    const query = { project: 'default', series: 'temps' };
    const points = await countOf(store.query(query));
    // Of the last batches some may be there that nobody was told of.
    expect(points).toBeGreaterThanOrEqual(acknowledged);
    expect(points % 50).toBe(0);
    const counted = { ...query, aggregate: 'count', stepMs: 60_000 } as const;
    expect(await sumOf(store.query(counted))).toBe(points);
    expect(await sumOf(store.query({ ...counted, stepMs: 3_600_000 }))).toBe(points);
    await store.close();
  }
}, 120_000);

test('on a full disk a batch is refused whole; when there is room again it is taken', async () => {
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { timeout: 10_000 });
  try {
    const store = await open(join(disk, 'series'));
    const sink = store.sink('default', 'temps');
    await sink.deliver(batchOf(0, 500), signal);
    let at = 500;
    let refused: unknown;
    for (; at < 100_000 && !refused; at += 500) {
      await sink.deliver(batchOf(at, 500), signal).catch((error) => {
        refused = error;
        at -= 500;
      });
    }
    expect(refused).toMatchObject({ code: 'unavailable', message: expect.stringContaining('disk is full') });
    const query = { project: 'default', series: 'temps' };
    expect(await countOf(store.query(query))).toBe(at);
    execFileSync('mount', ['-o', 'remount,size=8m', disk], { timeout: 10_000 });
    await sink.deliver(batchOf(at, 500), signal);
    expect(await countOf(store.query(query))).toBe(at + 500);
    expect(await sumOf(store.query({ ...query, aggregate: 'count', stepMs: 3_600_000 }))).toBe(at + 500);
    await store.close();
  } finally {
    execFileSync('umount', ['-l', disk], { timeout: 10_000 });
  }
}, 60_000);

test('100,000 series take less than 250 MB of memory to write, to ask for and to list', async () => {
  const store = await open();
  const sink = store.sink('default', 'many');
  const before = process.memoryUsage().rss;
  let most = 0;
  for (let device = 0; device < 2000; device += 10) {
    const batch = Array.from({ length: 10 }, (_, n) =>
      message(
        device + n,
        `device-${device + n}`,
        Object.fromEntries(Array.from({ length: 50 }, (_, field) => [`field${field}`, field])),
      ),
    );
    await sink.deliver(batch, signal);
    most = Math.max(most, process.memoryUsage().rss);
  }
  const query = { project: 'default', series: 'many' };
  let read = 0;
  for await (const _ of store.query(query))
    if (++read % 10_000 === 0) most = Math.max(most, process.memoryUsage().rss);
  expect(read).toBe(100_000);
  expect(await countOf(store.last('default', 'many'))).toBe(100_000);
  expect(await store.list('default')).toMatchObject([{ devices: 2000, points: 100_000 }]);
  most = Math.max(most, process.memoryUsage().rss);
  expect((most - before) / 2 ** 20).toBeLessThan(250);
  await store.close();
}, 120_000);
