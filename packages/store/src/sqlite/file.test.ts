// The SQLite engine's file: who may read it, what of it outlives a restart, and how damage shows.
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, expect, test } from 'vitest';
import { codeOf, createHandClock, never, put, take } from '../conformance/bed.ts';
import { openSqliteStore } from './sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-file-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const failure = (code: string) => expect.objectContaining({ name: 'SkerryError', code });

test('only its owner may read the file and its log', async () => {
  const path = join(folder, 'mode.db');
  const store = openSqliteStore({ path });
  try {
    await put(store, '/a');
    for (const file of [path, `${path}-wal`]) expect(statSync(file).mode & 0o777, file).toBe(0o600);
  } finally {
    await store.close();
  }
});

test('entries, revision, change log and statistics are the same after a restart', async () => {
  const path = join(folder, 'restart.db');
  const look = async (store: ReturnType<typeof openSqliteStore>) => {
    const { logRows, logBytes, oldestRevision } = store.stats();
    const log = await take(store.watch('/', { from: oldestRevision - 1, signal: never() }), 4);
    return { list: await store.list('/'), log, logRows, logBytes, oldestRevision };
  };
  const first = openSqliteStore({ path });
  for (let i = 0; i < 5; i++) await put(first, `/k${i % 3}`, `${i}`);
  await first.txn([], [{ delete: '/k0' }]);
  await first.compact(2);
  const before = await look(first);
  await first.close();
  const second = openSqliteStore({ path });
  try {
    expect(await look(second)).toEqual(before);
    expect(await codeOf(() => take(second.watch('/', { from: 1, signal: never() }), 1))).toBe(
      'store_compacted',
    );
    expect((await put(second, '/more')).revision).toBe(7);
  } finally {
    await second.close();
  }
});

test('a lease outlives a restart with its whole time, and then expires', async () => {
  const path = join(folder, 'lease.db');
  const first = openSqliteStore({ path, leaseClock: createHandClock() });
  const lease = await first.lease(1000);
  await first.txn([], [{ put: '/held', value: '1', lease: lease.id }]);
  await first.close();
  const clock = createHandClock();
  const second = openSqliteStore({ path, leaseClock: clock });
  try {
    clock.advance(999);
    await second.txn([], [{ put: '/more', value: '1', lease: lease.id }]);
    clock.advance(1);
    await second.txn([], []);
    expect((await second.list('/')).entries).toEqual([]);
  } finally {
    await second.close();
  }
});

test('a file that is no database is named as damaged, and left as it is', () => {
  const path = join(folder, 'rubbish.db');
  const rubbish = 'this is no database, and long enough to look like one'.repeat(100);
  writeFileSync(path, rubbish);
  expect(() => openSqliteStore({ path })).toThrow(failure('store_corrupt'));
  expect(statSync(path).size).toBe(rubbish.length);
});

test('damage inside the file is named when it is met, by reads, lists and writes', async () => {
  const path = join(folder, 'inside.db');
  const store = openSqliteStore({ path });
  await Promise.all(Array.from({ length: 2000 }, (_, i) => put(store, `/k/${i}`, 'x'.repeat(200))));
  await store.close();
  // Only pages that opening does not read: the leaves of the table of entries (sqlite.org/dbstat.html).
  const raw = new Database(path);
  const leaves = raw
    .prepare<[], number>("SELECT pageno FROM dbstat WHERE name = 'entry' AND pagetype = 'leaf'")
    .pluck()
    .all();
  const pageBytes = raw.pragma('page_size', { simple: true }) as number;
  raw.close();
  expect(leaves.length).toBeGreaterThan(10);
  const file = openSync(path, 'r+');
  for (const page of leaves)
    writeSync(file, Buffer.alloc(pageBytes, 0xa5), 0, pageBytes, (page - 1) * pageBytes);
  closeSync(file);
  const damaged = openSqliteStore({ path });
  try {
    const codes = [
      await codeOf(() => damaged.get('/k/1000')),
      await codeOf(() => damaged.list('/')),
      await codeOf(() => put(damaged, '/k/1000')),
    ];
    expect(codes).toEqual(['store_corrupt', 'store_corrupt', 'store_corrupt']);
    // What is whole can still be read, so that a copy can be made of it.
    expect(await take(damaged.watch('/', { from: 0, signal: never() }), 2000)).toHaveLength(2000);
  } finally {
    await damaged.close();
  }
});

test('a file of a newer schema is refused and not touched', async () => {
  const path = join(folder, 'newer.db');
  await openSqliteStore({ path }).close();
  const raw = new Database(path);
  raw.pragma('user_version = 999');
  raw.close();
  expect(() => openSqliteStore({ path })).toThrow(failure('data_folder_invalid'));
  const again = new Database(path);
  expect(again.pragma('user_version', { simple: true })).toBe(999);
  again.close();
});

test('a folder that is not there is named', () => {
  expect(() => openSqliteStore({ path: join(folder, 'none', 'a.db') })).toThrow(
    failure('data_folder_invalid'),
  );
});
