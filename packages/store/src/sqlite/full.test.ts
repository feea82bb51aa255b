// A full disk, on a real one: a small tmpfs of the test's own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSqliteStore } from './sqlite-store.ts';

const root = process.getuid?.() === 0;

test.skipIf(!root)(
  'a full disk refuses the write, keeps what was acknowledged, and works again (needs root to mount)',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]);
    try {
      const store = openSqliteStore({ path: join(folder, 'store.db') });
      try {
        const acknowledged: string[] = [];
        writeFileSync(join(folder, 'ballast'), Buffer.alloc(1_200_000));
        let refused: unknown;
        for (let i = 0; i < 2000 && !refused; i++) {
          await store.txn([], [{ put: `/k/${i}`, value: 'x'.repeat(4000) }]).then(
            () => acknowledged.push(`/k/${i}`),
            (error) => {
              refused = error;
            },
          );
        }
        expect(refused).toMatchObject({ code: 'store_full' });
        expect(acknowledged.length).toBeGreaterThan(5);
        for (const key of acknowledged) expect(await store.get(key)).toBeDefined();
        truncateSync(join(folder, 'ballast'), 0);
        await store.txn([], [{ put: '/after', value: '1' }]);
        expect(await store.get('/after')).toBeDefined();
      } finally {
        await store.close();
      }
    } finally {
      execFileSync('umount', [folder]);
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
