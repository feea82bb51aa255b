// What the SQLite engine promises of commits and of its file's size.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { codeOf } from '../conformance/bed.ts';
import { openSqliteStore } from './sqlite-store.ts';

const LIMIT = 64_000_000;
const folder = mkdtempSync(join(tmpdir(), 'skerry-size-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Of the database and all files beside it. */
const bytesOf = (prefix: string) =>
  readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

test('writers that come together share a commit', async () => {
  const store = openSqliteStore({ path: join(folder, 'shared.db') });
  try {
    await Promise.all(Array.from({ length: 64 }, (_, i) => store.txn([], [{ put: `/k/${i}`, value: '1' }])));
    expect(store.stats()).toMatchObject({ commits: 1, txns: 64 });
  } finally {
    await store.close();
  }
});

test('64 writers that go on writing need few commits', async () => {
  const store = openSqliteStore({ path: join(folder, 'many.db') });
  try {
    const writer = async (lane: number) => {
      for (let i = 0; i < 50; i++) await store.txn([], [{ put: `/k/${lane}`, value: String(i) }]);
    };
    await Promise.all(Array.from({ length: 64 }, (_, lane) => writer(lane)));
    const { commits, txns } = store.stats();
    expect(txns).toBe(64 * 50);
    expect(commits).toBeLessThanOrEqual(100);
  } finally {
    await store.close();
  }
});

test('a transaction that can not be written leaves the others of its commit whole', async () => {
  const store = openSqliteStore({ path: join(folder, 'spoilt.db') });
  try {
    const unfit = { toString: () => 'not text' } as unknown as string;
    const results = await Promise.all([
      codeOf(() => store.txn([], [{ put: '/a', value: '1' }])),
      codeOf(() =>
        store.txn(
          [],
          [
            { put: '/half', value: '1' },
            { put: '/b', value: unfit },
          ],
        ),
      ),
      codeOf(() => store.txn([{ key: '/a', exists: true }], [{ put: '/c', value: '1' }])),
    ]);
    expect(results[0]).toBe('nothing thrown');
    expect(results[1]).not.toBe('nothing thrown');
    expect(results[2]).toBe('nothing thrown');
    const { entries, revision } = await store.list('/');
    expect(entries.map((entry) => entry.key)).toEqual(['/a', '/c']);
    expect(revision).toBe(2);
  } finally {
    await store.close();
  }
});

test('the file stays under 64 MB through a million writes', { timeout: 180_000 }, async () => {
  const store = openSqliteStore({ path: join(folder, 'million.db') });
  let largest = 0;
  const value = JSON.stringify({ phase: 'running', text: 'x'.repeat(150) });
  try {
    for (let written = 0; written < 1_000_000; ) {
      const batch = [];
      for (let i = 0; i < 250; i++) {
        const ops = Array.from({ length: 8 }, (_, j) => ({
          put: `/workloads/default/w${(written + i * 8 + j) % 500}`,
          value,
        }));
        batch.push(store.txn([], ops));
      }
      await Promise.all(batch);
      written += 2000;
      if (written % 10_000 === 0) largest = Math.max(largest, bytesOf('million.db'));
    }
    expect(store.stats().txns).toBe(125_000);
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(LIMIT);
  } finally {
    await store.close();
  }
});

test('large values do not swell the file: the change log is bounded by bytes', async () => {
  const store = openSqliteStore({ path: join(folder, 'large.db') });
  try {
    const value = 'x'.repeat(64_000);
    let largest = 0;
    for (let round = 0; round < 30; round++) {
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => store.txn([], [{ put: `/k/${i % 10}`, value }])),
      );
      largest = Math.max(largest, bytesOf('large.db'));
    }
    expect(largest).toBeLessThan(LIMIT);
  } finally {
    await store.close();
  }
});

test('what was deleted is given back to the file system while writing goes on, and by compacting at once', async () => {
  const store = openSqliteStore({ path: join(folder, 'shrinks.db'), keepRevisions: 20 });
  const fill = async () => {
    const value = 'x'.repeat(64_000);
    await Promise.all(Array.from({ length: 600 }, (_, i) => store.txn([], [{ put: `/big/${i}`, value }])));
    return bytesOf('shrinks.db');
  };
  try {
    expect(await fill()).toBeGreaterThan(38_000_000);
    await store.txn([], [{ deletePrefix: '/big/' }]);
    for (let i = 0; i < 100; i++) await store.txn([], [{ put: '/small', value: '1' }]);
    expect(bytesOf('shrinks.db')).toBeLessThan(16_000_000);
    expect(await fill()).toBeGreaterThan(38_000_000);
    await store.txn([], [{ deletePrefix: '/big/' }]);
    await store.compact(await store.revision());
    expect(bytesOf('shrinks.db')).toBeLessThan(1_000_000);
  } finally {
    await store.close();
  }
});
