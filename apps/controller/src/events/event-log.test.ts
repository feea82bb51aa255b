import type { Store } from '@skerry/store';
import { createMemoryStore } from '@skerry/store';
import { expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import type { Logger } from '../logger.ts';
import { eventually } from '../testing/harness.ts';
import { createEventLog } from './event-log.ts';

const quiet = () => undefined;
const logger: Logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const event = (message: string) => ({
  type: 'normal' as const,
  reason: 'Test',
  message,
  about: { kind: 'Test', name: 'x' },
});

test('only the latest are kept, in the store as well; asking for older ones is an error that says from where', async () => {
  const store = createMemoryStore();
  const log = createEventLog(store, systemClock, logger, 100);
  await log.start();
  for (let i = 0; i < 1000; i++) {
    log.emit(event(String(i)));
    if (i % 10 === 9) await log.flushed();
  }
  await log.stop();
  expect(log.last).toBe(1000);
  expect(log.read(undefined, 3).map(({ message }) => message)).toEqual(['997', '998', '999']);
  expect(() => log.read(500, 10)).toThrow(expect.objectContaining({ code: 'store_compacted' }));
  const { entries } = await store.list('/events/');
  const stored = entries.flatMap(({ value }) => JSON.parse(value) as unknown[]);
  expect(stored.length).toBeGreaterThanOrEqual(100);
  expect(stored.length).toBeLessThanOrEqual(120);

  const next = createEventLog(store, systemClock, logger, 100);
  await next.start();
  next.emit(event('after'));
  await next.stop();
  expect(next.read(999, 10).map(({ sequence, message }) => [sequence, message])).toEqual([
    [1000, '999'],
    [1001, 'after'],
  ]);
  await store.close();
});

test('a listener that does not read is cut off with an error, the others go on', async () => {
  const store = createMemoryStore();
  const log = createEventLog(store, systemClock, logger);
  await log.start();
  const abort = new AbortController();
  const slow = log.listen(undefined, abort.signal)[Symbol.asyncIterator]();
  const seen: number[] = [];
  const fast = (async () => {
    for await (const { sequence } of log.listen(0, abort.signal)) seen.push(sequence);
  })();
  const caughtUp = (count: number) =>
    eventually(
      async () => seen.length,
      (length) => length === count,
    );
  for (let i = 0; i < 3000; i++) {
    log.emit(event(String(i)));
    if (i % 500 === 499) await caughtUp(i + 1);
  }
  const readAll = async () => {
    while (!(await slow.next()).done);
  };
  await expect(readAll()).rejects.toMatchObject({ code: 'watch_too_slow' });
  abort.abort();
  await fast;
  expect(seen).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
  await log.stop();
  await store.close();
});

test('nobody hears of an event that is not durable; it comes when the store can be written again', async () => {
  const memory = createMemoryStore();
  let full = true;
  const store: Store = {
    ...memory,
    txn: (...args) => (full ? Promise.reject(new Error('no space')) : memory.txn(...args)),
  };
  const retries: (() => void)[] = [];
  const clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    after(_ms: number, callback: () => void) {
      retries.push(callback);
      return quiet;
    },
  };
  const log = createEventLog(store, clock, logger);
  await log.start();
  log.emit(event('a'));
  await log.flushed();
  expect([log.last, log.read(undefined, 10)]).toEqual([0, []]);
  full = false;
  for (const retry of retries) retry();
  await log.flushed();
  expect(log.read(undefined, 10).map(({ sequence, message }) => [sequence, message])).toEqual([[1, 'a']]);
  await log.stop();
  await memory.close();
});

test('a store that fails to the end does not keep the log from ending', async () => {
  const memory = createMemoryStore();
  const store: Store = { ...memory, txn: () => Promise.reject(new Error('closed')) };
  const log = createEventLog(store, systemClock, logger);
  await log.start();
  log.emit(event('a'));
  await log.stop();
  log.emit(event('b'));
  // A timer is served: nothing spins.
  await new Promise((resolve) => setTimeout(resolve, 1));
  expect(log.last).toBe(0);
  await memory.close();
});
