/** What every engine promises. `open` gives a fresh store; for tests only. */
import { SkerryError } from '@skerry/model';
import { afterEach, describe, expect, test } from 'vitest';
import type { LeaseClock } from './leases.ts';
import type { Store, WatchBatch } from './port.ts';

export interface EngineOptions {
  readonly keepRevisions?: number;
  readonly leaseClock?: LeaseClock;
  readonly watchLimitEvents?: number;
}

/** A clock that a test moves by hand. */
export function createHandClock(): LeaseClock & { advance(ms: number): void } {
  let now = 0;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      now += ms;
      const due = timers.filter((timer) => timer.at <= now);
      timers = timers.filter((timer) => timer.at > now);
      for (const timer of due) timer.callback();
    },
  };
}

async function take(batches: AsyncIterable<WatchBatch>, count: number): Promise<WatchBatch[]> {
  const taken: WatchBatch[] = [];
  for await (const batch of batches) {
    taken.push(batch);
    if (taken.length === count) break;
  }
  return taken;
}

const codeOf = async (promise: Promise<unknown>) =>
  promise.then(
    () => 'nothing thrown',
    (error) => (error instanceof SkerryError ? error.code : String(error)),
  );

export function storeConformance(name: string, open: (options?: EngineOptions) => Store): void {
  describe(`store engine ${name}`, () => {
    const opened: Store[] = [];
    const fresh = (options?: EngineOptions) => {
      const store = open(options);
      opened.push(store);
      return store;
    };
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
    });
    const put = (store: Store, key: string, value = '1') => store.txn([], [{ put: key, value }]);

    test('an empty store is at revision 0 and each writing transaction adds one', async () => {
      const store = fresh();
      expect(await store.revision()).toBe(0);
      expect(await put(store, '/a')).toEqual({ succeeded: true, revision: 1 });
      await store.txn(
        [],
        [
          { put: '/b', value: '1' },
          { put: '/c', value: '1' },
        ],
      );
      expect(await store.revision()).toBe(2);
      await store.txn([], [{ delete: '/nothing' }]);
      expect(await store.revision()).toBe(2);
    });

    test('an entry tells when it was made, when it changed and how often', async () => {
      const store = fresh();
      await put(store, '/a', 'one');
      await put(store, '/b');
      await put(store, '/a', 'two');
      expect(await store.get('/a')).toEqual({
        key: '/a',
        value: 'two',
        createRevision: 1,
        modRevision: 3,
        version: 2,
      });
      await store.txn([], [{ delete: '/a' }]);
      expect(await store.get('/a')).toBeUndefined();
      await put(store, '/a', 'three');
      expect(await store.get('/a')).toMatchObject({ createRevision: 5, version: 1 });
    });

    test('a transaction whose comparison fails writes only its other branch', async () => {
      const store = fresh();
      await put(store, '/a');
      const lost = await store.txn(
        [{ key: '/a', modRevision: 0 }],
        [{ put: '/a', value: 'x' }],
        [{ put: '/else', value: '1' }],
      );
      expect(lost.succeeded).toBe(false);
      expect((await store.get('/a'))?.value).toBe('1');
      expect((await store.get('/else'))?.value).toBe('1');
      expect((await store.txn([{ key: '/a', exists: false }], [{ delete: '/a' }])).succeeded).toBe(false);
      expect((await store.txn([{ key: '/a', modRevision: 1 }], [{ delete: '/a' }])).succeeded).toBe(true);
    });

    test('of writers that compare the same revision at the same time exactly one wins', async () => {
      const store = fresh();
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          store.txn([{ key: '/x', modRevision: 0 }], [{ put: '/x', value: String(i) }]),
        ),
      );
      expect(results.filter((result) => result.succeeded)).toHaveLength(1);
    });

    test('lists are in order, below a prefix, and page without a gap', async () => {
      const store = fresh();
      for (const key of ['/w/b', '/w/a', '/v/a', '/w/c', '/x']) await put(store, key);
      const keys = (await store.list('/w/')).entries.map((entry) => entry.key);
      expect(keys).toEqual(['/w/a', '/w/b', '/w/c']);
      const first = await store.list('/w/', { limit: 2 });
      expect(first.next).toBe('/w/b');
      const second = await store.list('/w/', { limit: 2, after: first.next! });
      expect(second.entries.map((entry) => entry.key)).toEqual(['/w/c']);
      expect(second.next).toBeUndefined();
    });

    test('deleting a prefix deletes all below it and nothing else', async () => {
      const store = fresh();
      for (const key of ['/w/a', '/w/b', '/wx']) await put(store, key);
      await store.txn([], [{ deletePrefix: '/w/' }]);
      expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['/wx']);
    });

    test('a watch gives every change in order, and resumes from a revision without a gap', async () => {
      const store = fresh();
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
      const store = fresh();
      const writing = (async () => {
        for (let i = 0; i < 200; i++) await put(store, `/w/${i}`);
      })();
      const batches = await take(store.watch('/w/', { from: 0, signal: new AbortController().signal }), 200);
      await writing;
      expect(batches.map((batch) => batch.revision)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    });

    test('a watch ends when it is aborted', async () => {
      const store = fresh();
      const stop = new AbortController();
      const all = take(store.watch('/', { signal: stop.signal }), 99);
      await put(store, '/a');
      stop.abort();
      expect((await all).length).toBeLessThanOrEqual(1);
    });

    test('a start that was compacted says so', async () => {
      const store = fresh();
      for (let i = 0; i < 5; i++) await put(store, '/a', String(i));
      await store.compact(3);
      const signal = new AbortController().signal;
      expect(await codeOf((async () => take(store.watch('/', { from: 2, signal }), 1))())).toBe(
        'store_compacted',
      );
      expect((await take(store.watch('/', { from: 3, signal }), 2)).map((batch) => batch.revision)).toEqual([
        4, 5,
      ]);
      expect((await store.get('/a'))?.value).toBe('4');
    });

    test('the change log keeps no more than it was told to', async () => {
      const store = fresh({ keepRevisions: 100 });
      for (let i = 0; i < 500; i++) await put(store, '/a', String(i));
      expect(store.stats().logRows).toBeLessThanOrEqual(200);
    });

    test('a listener that reads too slowly is cut off with an error', async () => {
      const store = fresh({ watchLimitEvents: 10 });
      const batches = store.watch('/', { signal: new AbortController().signal });
      for (let i = 0; i < 20; i++) await put(store, `/${i}`);
      expect(await codeOf(take(batches, 20))).toBe('watch_too_slow');
    });

    test('what a lease holds goes when it expires, and stays while it is kept alive', async () => {
      const clock = createHandClock();
      const store = fresh({ leaseClock: clock });
      const lease = await store.lease(1000);
      await store.txn(
        [],
        [
          { put: '/held', value: '1', lease: lease.id },
          { put: '/free', value: '1' },
        ],
      );
      clock.advance(900);
      await lease.keepAlive();
      clock.advance(900);
      expect(await store.get('/held')).toBeDefined();
      const gone = take(store.watch('/held', { signal: new AbortController().signal }), 1);
      clock.advance(200);
      expect((await gone)[0]!.events[0]!.type).toBe('delete');
      expect(await store.get('/free')).toBeDefined();
    });
  });
}
