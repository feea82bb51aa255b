/** Watches and the change log: what every engine promises. */
import { expect, test } from 'vitest';
import type { Store } from '../port.ts';
import { codeOf, type EngineOptions, never, put, take } from './bed.ts';

export function watchConformance(fresh: (options?: EngineOptions) => Promise<Store>): void {
  test('a watch gives every change in order, and resumes from a revision without a gap', async () => {
    const store = await fresh();
    const stop = new AbortController();
    const live = take(store.watch('/w/', { signal: stop.signal }), 3);
    await put(store, '/w/a', '1');
    await put(store, '/other', '1');
    await put(store, '/w/a', '2');
    await store.txn([], [{ delete: '/w/a' }]);
    const seen = await live;
    expect(seen.map((batch) => batch.revision)).toEqual([1, 3, 4]);
    expect(seen[2]!.events[0]).toEqual({ type: 'delete', key: '/w/a', previous: '2', revision: 4 });
    const again = await take(store.watch('/w/', { from: 1, signal: stop.signal }), 2);
    expect(again).toEqual(seen.slice(1));
  });

  test('a watch that begins while others write misses nothing', async () => {
    const store = await fresh();
    const writing = (async () => {
      for (let i = 0; i < 200; i++) await put(store, `/w/${i}`);
    })();
    const batches = await take(store.watch('/w/', { from: 0, signal: never() }), 200);
    await writing;
    expect(batches.map((batch) => batch.revision)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
  });

  test('a watch ends when it is aborted', async () => {
    const store = await fresh();
    const stop = new AbortController();
    const all = take(store.watch('/', { signal: stop.signal }), 99);
    await put(store, '/a');
    stop.abort();
    expect((await all).length).toBeLessThanOrEqual(1);
  });

  test('a start that was compacted says so', async () => {
    const store = await fresh();
    for (let i = 0; i < 5; i++) await put(store, '/a', String(i));
    await store.compact(3);
    const signal = never();
    expect(await codeOf(() => take(store.watch('/', { from: 2, signal }), 1))).toBe('store_compacted');
    expect((await take(store.watch('/', { from: 3, signal }), 2)).map((batch) => batch.revision)).toEqual([
      4, 5,
    ]);
    expect((await store.get('/a'))?.value).toBe('4');
  });

  test('the change log keeps no more than it was told to', async () => {
    const store = await fresh({ keepRevisions: 100 });
    for (let i = 0; i < 50; i++)
      await Promise.all(Array.from({ length: 10 }, () => put(store, '/a', String(i))));
    expect(store.stats().logRows).toBeLessThanOrEqual(120);
  });

  test('a listener that reads too slowly is cut off with an error', async () => {
    const store = await fresh({ watchLimitEvents: 10 });
    const batches = store.watch('/', { signal: never() });
    for (let i = 0; i < 20; i++) await put(store, `/${i}`);
    expect(await codeOf(() => take(batches, 20))).toBe('watch_too_slow');
  });

  test('listeners that stop and resume anywhere, while many write, get every revision once and in order', async () => {
    const store = await fresh();
    const total = 1200;
    const listener = async (stride: number) => {
      const seen: number[] = [];
      while (seen.length < total) {
        const from = seen.at(-1) ?? 0;
        const some = await take(
          store.watch('/', { from, signal: never() }),
          Math.min(stride, total - seen.length),
        );
        seen.push(...some.map((batch) => batch.revision));
      }
      return seen;
    };
    const listening = [1, 7, 64, 501].map(listener);
    for (let written = 0; written < total; written += 24)
      await Promise.all(Array.from({ length: 24 }, (_, i) => put(store, `/w/${i}`, String(written))));
    const all = Array.from({ length: total }, (_, i) => i + 1);
    for (const seen of await Promise.all(listening)) expect(seen).toEqual(all);
  });

  test('a start that this store never reached is refused: what lies between would be skipped', async () => {
    const store = await fresh();
    await put(store, '/a');
    expect(await codeOf(() => take(store.watch('/', { from: 2, signal: never() }), 1))).toBe(
      'store_compacted',
    );
    expect(await codeOf(() => take(store.watch('/', { from: Number.NaN, signal: never() }), 1))).toBe(
      'store_compacted',
    );
  });

  test('a listener that resumes from far back is not cut off for it', async () => {
    const store = await fresh({ watchLimitEvents: 10 });
    await Promise.all(Array.from({ length: 600 }, (_, i) => put(store, `/${i % 5}`)));
    expect(await take(store.watch('/', { from: 0, signal: never() }), 600)).toHaveLength(600);
  });

  test('a listener that the log has left behind while it was catching up is told so', async () => {
    const store = await fresh();
    await Promise.all(Array.from({ length: 600 }, () => put(store, '/a')));
    const reading = store.watch('/', { from: 0, signal: never() })[Symbol.asyncIterator]();
    await reading.next();
    await store.compact(590);
    let last = 0;
    const code = await codeOf(async () => {
      for (;;) last = (await reading.next()).value!.revision;
    });
    expect(code).toBe('store_compacted');
    expect(last).toBeLessThan(590);
  });

  test('the change log is bounded by bytes too, and its newest revision stays', async () => {
    const store = await fresh({ keepBytes: 10_000 });
    for (let i = 0; i < 50; i++) await put(store, '/a', 'x'.repeat(1000));
    expect(store.stats().logBytes).toBeLessThan(12_000);
    expect(store.stats().logRows).toBeGreaterThan(5);
    await put(store, '/a', 'x'.repeat(50_000));
    await put(store, '/b');
    expect(store.stats().oldestRevision).toBeGreaterThan(50);
    expect(await take(store.watch('/', { from: 51, signal: never() }), 1)).toHaveLength(1);
  });

  test('the statistics agree with the log', async () => {
    const store = await fresh();
    await store.txn(
      [],
      [
        { put: '/a', value: '12' },
        { put: '/b', value: '3' },
      ],
    );
    await store.txn([], [{ deletePrefix: '/' }]);
    await put(store, '/c');
    expect(store.stats()).toMatchObject({
      txns: 3,
      logRows: 5,
      logBytes: 7 + 7 + 3,
      oldestRevision: 1,
    });
    await store.compact(1);
    expect(store.stats()).toMatchObject({ logRows: 3, oldestRevision: 2 });
  });

  test('closing the store ends its watches', async () => {
    const store = await fresh();
    const watching = take(store.watch('/', { signal: never() }), 9);
    await put(store, '/a');
    await store.close();
    expect((await watching).length).toBeLessThanOrEqual(1);
  });
}
