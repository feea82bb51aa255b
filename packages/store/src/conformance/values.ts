/** Keys, values, transactions and lists: what every engine promises. */
import { expect, test } from 'vitest';
import type { Store } from '../port.ts';
import { codeOf, type EngineOptions, never, put } from './bed.ts';

export function valuesConformance(fresh: (options?: EngineOptions) => Promise<Store>): void {
  test('an empty store is at revision 0 and each writing transaction adds one', async () => {
    const store = await fresh();
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
    const store = await fresh();
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
    const store = await fresh();
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
    const store = await fresh();
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        store.txn([{ key: '/x', modRevision: 0 }], [{ put: '/x', value: String(i) }]),
      ),
    );
    expect(results.filter((result) => result.succeeded)).toHaveLength(1);
  });

  test('lists are in order, below a prefix, and page without a gap', async () => {
    const store = await fresh();
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
    const store = await fresh();
    for (const key of ['/w/a', '/w/b', '/wx']) await put(store, key);
    await store.txn([], [{ deletePrefix: '/w/' }]);
    expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['/wx']);
  });

  test('keys are in the order of their UTF-8 bytes, also where that is not the order of UTF-16', async () => {
    const store = await fresh();
    const keys = ['/a', '/a/b', '/é', '/\u{ffee}', '/\u{10000}', '/\u{10ffff}', '/\u{10ffff}\u{10ffff}'];
    for (const key of keys.toReversed()) await put(store, key);
    expect((await store.list('/')).entries.map((entry) => entry.key)).toEqual(keys);
    const after = await store.list('/', { after: '/\u{ffee}', limit: 1 });
    expect(after.entries.map((entry) => entry.key)).toEqual(['/\u{10000}']);
    await store.txn([], [{ deletePrefix: '/\u{10ffff}' }]);
    expect((await store.list('/')).entries).toHaveLength(5);
  });

  test('a transaction that puts a key and names it again is refused, with nothing written', async () => {
    const store = await fresh();
    const one = { put: '/w/a', value: '1' };
    for (const other of [one, { delete: '/w/a' }, { deletePrefix: '/w/' }]) {
      expect(await codeOf(() => store.txn([], [{ put: '/x', value: '1' }, one, other]))).toBe('internal');
      expect(await codeOf(() => store.txn([], [], [other, one]))).toBe('internal');
    }
    expect(await store.revision()).toBe(0);
  });

  test('a closed store refuses everything and says so', async () => {
    const store = await fresh();
    await put(store, '/a');
    await store.close();
    await store.close();
    const asked = [
      () => store.get('/a'),
      () => store.list('/'),
      () => put(store, '/a'),
      () => store.lease(1000),
      () => store.revision(),
      () => store.compact(1),
      async () => store.watch('/', { signal: never() }),
    ];
    for (const ask of asked) expect(await codeOf(ask)).toBe('unavailable');
  });
}
