// One queue in a folder, on the real file system.
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { QueueEntry, QueueOptions } from '../ports.ts';
import { openQueue } from './queue.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-queue-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const PLENTY: QueueOptions = { sizeBytes: 64 * 2 ** 20, ageMs: 0, whenFull: 'oldest' };
const entry = (id: number, more: Partial<QueueEntry> = {}): QueueEntry => ({
  ...{ id: `m-${id}`, key: 'thermo', atMs: 1000 + id, priority: 0, data: Buffer.from(`reading ${id}`) },
  ...more,
});
const entries = (from: number, to: number, more: Partial<QueueEntry> = {}) =>
  Array.from({ length: to - from }, (_, at) => entry(from + at, more));
const ALL = { count: 1e6, bytes: 1e9 };

test('what was synced is there after a restart, in order, with its positions and marks', async () => {
  const queue = await openQueue(folder, PLENTY);
  expect(queue.append(entries(0, 3))).toBe(3);
  queue.mark('checkpoint', { position: 2 });
  queue.acknowledge(1);
  await queue.sync();
  queue.append(entries(3, 4)); // and the power goes: nobody synced it
  const again = await openQueue(folder, PLENTY);
  expect(
    (await again.read(again.status().acknowledged, ALL)).map(({ id, position }) => [id, position]),
  ).toEqual([
    ['m-1', 2],
    ['m-2', 3],
  ]);
  expect(again.marked('checkpoint')).toEqual({ position: 2 });
  await queue.close();
  await again.close();
});

test('a position is never given twice, also where all was acknowledged before a restart', async () => {
  let queue = await openQueue(folder, PLENTY);
  queue.acknowledge(queue.append(entries(0, 10)));
  await queue.close();
  queue = await openQueue(folder, PLENTY);
  expect(queue.status()).toMatchObject({ entries: 0, lastPosition: 10 });
  expect(queue.append([entry(10)])).toBe(11);
  await queue.close();
});

test('a torn end is cut off, damage in the middle is counted and passed over', async () => {
  let queue = await openQueue(folder, PLENTY);
  queue.append(entries(0, 100));
  await queue.close();
  const path = join(folder, readdirSync(folder)[0]!);
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)]! ^= 0xff;
  writeFileSync(path, bytes);
  appendFileSync(path, bytes.subarray(0, 33));
  queue = await openQueue(folder, PLENTY);
  const found = await queue.read(0, ALL);
  expect(found).toHaveLength(99);
  expect(queue.status().damaged).toBe(1);
  expect(queue.append([entry(100)])).toBe(101);
  await queue.close();
  queue = await openQueue(folder, PLENTY);
  expect(await queue.read(0, ALL)).toHaveLength(100);
  await queue.close();
});

const SMALL = 512 * 2 ** 10;
const big = (from: number, to: number, more: Partial<QueueEntry> = {}) =>
  entries(from, to, { data: Buffer.alloc(4000, 7), ...more });

test('when it is full the oldest go, and are counted', async () => {
  const queue = await openQueue(folder, { ...PLENTY, sizeBytes: SMALL });
  for (let at = 0; at < 300; at++) queue.append(big(at, at + 1));
  await queue.sync();
  const { entries: held, droppedBySize, diskBytes } = queue.status();
  expect(held + droppedBySize).toBe(300);
  expect(diskBytes).toBeLessThanOrEqual(SMALL);
  const left = await queue.read(0, ALL);
  expect(left).toHaveLength(held);
  expect(left.at(-1)!.id).toBe('m-299');
  const bytes = readdirSync(folder).reduce((sum, name) => sum + readFileSync(join(folder, name)).length, 0);
  expect(bytes).toBe(diskBytes);
  await queue.close();
});

test('when it is full the newest are turned away, and are counted', async () => {
  const queue = await openQueue(folder, { ...PLENTY, sizeBytes: SMALL, whenFull: 'newest' });
  for (let at = 0; at < 300; at++) queue.append(big(at, at + 1));
  const { entries: held, droppedBySize } = queue.status();
  expect(held + droppedBySize).toBe(300);
  expect((await queue.read(0, ALL)).map(({ id }) => id)).toEqual(entries(0, held).map(({ id }) => id));
  await queue.close();
});

test('when it is full by priority the least go first, and the order stays', async () => {
  let queue = await openQueue(folder, { ...PLENTY, sizeBytes: SMALL, whenFull: 'priority' });
  for (let at = 0; at < 300; at++) {
    queue.append(big(at, at + 1, { priority: at % 10 === 0 ? 9 : at % 3 }));
    if (at % 50 === 0) await queue.sync();
  }
  await queue.sync();
  await queue.sync();
  const { entries: held, droppedBySize, diskBytes } = queue.status();
  expect(held + droppedBySize).toBe(300);
  expect(diskBytes).toBeLessThanOrEqual(SMALL);
  const left = await queue.read(0, ALL);
  expect(left).toHaveLength(held);
  expect(left.filter(({ priority }) => priority === 9)).toHaveLength(30);
  expect(left.map(({ position }) => position)).toEqual(
    left.map(({ position }) => position).sort((a, b) => a - b),
  );
  await queue.close();
  queue = await openQueue(folder, { ...PLENTY, sizeBytes: SMALL, whenFull: 'priority' });
  expect((await queue.read(0, ALL)).map(({ id }) => id)).toEqual(left.map(({ id }) => id));
  await queue.close();
});

test('one that waits takes nothing more until there is room', async () => {
  const queue = await openQueue(folder, { ...PLENTY, sizeBytes: SMALL, whenFull: 'wait' });
  expect(() => {
    for (let at = 0; at < 300; at++) queue.append(big(at, at + 1));
  }).toThrow('bytes');
  const held = queue.status().entries;
  const room = queue.room(4100, AbortSignal.timeout(10_000));
  queue.acknowledge(held - 1);
  await room;
  queue.append(big(held, held + 1));
  expect(queue.status()).toMatchObject({ droppedBySize: 0, entries: 2 });
  await queue.close();
});

test('what is older than it may be goes, and is counted', async () => {
  let nowMs = 1000;
  const queue = await openQueue(folder, { ...PLENTY, ageMs: 50, now: () => nowMs });
  queue.append(entries(0, 100));
  nowMs = 1100;
  expect((await queue.read(0, ALL)).map(({ id }) => id)).toEqual(entries(50, 100).map(({ id }) => id));
  expect(queue.status()).toMatchObject({ droppedByAge: 50, entries: 50 });
  await queue.close();
});

test('what is acknowledged gives its disk back, but for what is kept', async () => {
  const queue = await openQueue(folder, PLENTY);
  const write = async (from: number, to: number) => {
    queue.append(entries(from, to, { data: Buffer.alloc(100_000) }));
    await queue.sync();
  };
  queue.keepFrom(50);
  await write(0, 200);
  queue.acknowledge(200);
  await queue.sync();
  expect((await queue.read(50, ALL)).map(({ position }) => position)).toHaveLength(150);
  expect(queue.status().diskBytes).toBeLessThan(170 * 100_000 + 4 * 2 ** 20);
  queue.keepFrom(200);
  await queue.sync();
  expect(queue.status().diskBytes).toBeLessThan(5 * 2 ** 20);
  await queue.close();
});

test('who waits for more is woken', async () => {
  const queue = await openQueue(folder, PLENTY);
  const more = queue.more(0, AbortSignal.timeout(10_000));
  queue.append([entry(0)]);
  await more;
  await queue.close();
});
