// A full disk, on a real one: a small tmpfs of the test's own.
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, test, vi } from 'vitest';
import { createHandClock, put } from '../conformance/bed.ts';
import type { Store } from '../port.ts';
import { openSqliteStore } from './sqlite-store.ts';

const root = process.getuid?.() === 0;
const NEEDS = '(needs root, to mount a small file system)';

async function onSmallDisk(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]);
    try {
      await work(folder);
    } finally {
      execFileSync('umount', [folder]);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes pairs of keys until one is refused; returns those that were acknowledged. */
async function writeUntilRefused(store: Store): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let i = 0; i < 2000; i++) {
    const value = 'x'.repeat(4000);
    try {
      await store.txn(
        [],
        [
          { put: `/k/${i}/a`, value },
          { put: `/k/${i}/b`, value },
        ],
      );
    } catch (error) {
      expect(error).toMatchObject({ code: 'store_full' });
      return acknowledged;
    }
    acknowledged.push(`/k/${i}/a`, `/k/${i}/b`);
  }
  throw new Error('the disk did not fill');
}

test.skipIf(!root)(
  `a full disk refuses writes, keeps exactly what was acknowledged, and works again with space ${NEEDS}`,
  () =>
    onSmallDisk(async (folder) => {
      const path = join(folder, 'store.db');
      const store = openSqliteStore({ path });
      let acknowledged: string[];
      try {
        writeFileSync(join(folder, 'ballast'), Buffer.alloc(1_000_000));
        acknowledged = await writeUntilRefused(store);
        expect(acknowledged.length).toBeGreaterThan(5);
        const list = await store.list('/');
        expect(list.entries.map((entry) => entry.key)).toEqual([...acknowledged].sort());
        expect(list.revision).toBe(acknowledged.length / 2);
        truncateSync(join(folder, 'ballast'), 0);
        expect((await put(store, '/after')).revision).toBe(acknowledged.length / 2 + 1);
      } finally {
        await store.close();
      }
      const again = openSqliteStore({ path });
      try {
        const keys = (await again.list('/')).entries.map((entry) => entry.key);
        expect(keys).toEqual([...acknowledged, '/after'].sort());
      } finally {
        await again.close();
      }
    }),
);

test.skipIf(!root)(
  `a store with a reserve goes on with small writes while others hold all of the disk, and after a crash ${NEEDS}`,
  () =>
    onSmallDisk(async (folder) => {
      const path = join(folder, 'store.db');
      const options = { path, keepRevisions: 100, reserveBytes: 512 * 1024 };
      const fill = () => {
        for (;;) appendFileSync(join(folder, 'ballast'), Buffer.alloc(4096));
      };
      const store = openSqliteStore(options);
      try {
        expect(fill).toThrow('ENOSPC');
        // more than the log holds, again and again
        for (let at = 0; at < 3000; at++) await put(store, `/k/${at % 20}`, 'x'.repeat(500));
        expect((await store.list('/k/')).entries).toHaveLength(20);
        // what is larger than the reserve is refused, and small writes go on
        await expect(put(store, '/large', 'x'.repeat(1_500_000))).rejects.toMatchObject({
          code: 'store_full',
        });
        await put(store, '/after', 'small');
        truncateSync(join(folder, 'ballast'), 0);
      } finally {
        await store.close();
      }
      // ended while the reserve was being made
      const db = new Database(path);
      db.exec('CREATE TABLE reserve (content BLOB); INSERT INTO reserve VALUES (zeroblob(100000))');
      db.close();
      const again = openSqliteStore(options);
      try {
        expect(fill).toThrow('ENOSPC');
        for (let at = 0; at < 300; at++) await put(again, `/k/${at % 20}`, 'y'.repeat(500));
        expect((await again.get('/after'))?.value).toBe('small');
      } finally {
        await again.close();
      }
    }),
);

test.skipIf(!root)(
  `a lease that expires on a full disk harms nothing, and its keys go when there is space ${NEEDS}`,
  () =>
    onSmallDisk(async (folder) => {
      const clock = createHandClock();
      const store = openSqliteStore({ path: join(folder, 'store.db'), leaseClock: clock });
      try {
        writeFileSync(join(folder, 'ballast'), Buffer.alloc(1_000_000));
        const lease = await store.lease(1000);
        // Deleting it takes as much room in the change log: more than the write-ahead log still has from what was refused.
        await store.txn([], [{ put: '/held', value: 'x'.repeat(200_000), lease: lease.id }]);
        await writeUntilRefused(store);
        expect(() => {
          for (;;) appendFileSync(join(folder, 'ballast'), Buffer.alloc(4096));
        }).toThrow('ENOSPC');
        clock.advance(1000);
        await vi.waitFor(() => expect(clock.timers, 'it is to be tried again').toBe(1));
        expect(await store.get('/held')).toBeDefined();
        await expect(lease.keepAlive()).rejects.toMatchObject({ code: 'conflict' });
        truncateSync(join(folder, 'ballast'), 0);
        clock.advance(1000);
        await store.txn([], []);
        expect(await store.get('/held')).toBeUndefined();
        expect(clock.timers).toBe(0);
      } finally {
        await store.close();
      }
    }),
);
