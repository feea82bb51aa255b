// What the SQLite engine promises beyond the suite: shared commits, a bounded file, clear failures, survival of kill -9.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openSqliteStore } from './sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-durable-'));
// Beside node_modules, so that the native module is found.
const root = fileURLToPath(new URL('../../../../', import.meta.url));
const writer = join(root, `node_modules/.skerry-store-writer-${process.pid}.mjs`);
beforeAll(async () => {
  await build({
    entryPoints: [fileURLToPath(new URL('./kill-writer.ts', import.meta.url))],
    outfile: writer,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@skerry/source'],
    external: ['better-sqlite3'],
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(writer, { force: true });
});

test('writers that come together share a commit', async () => {
  const store = openSqliteStore({ path: join(folder, 'shared.db') });
  try {
    await Promise.all(Array.from({ length: 64 }, (_, i) => store.txn([], [{ put: `/k/${i}`, value: '1' }])));
    expect(store.stats().commits).toBe(1);
    expect(store.stats().txns).toBe(64);
  } finally {
    await store.close();
  }
});

test('the file stays under 64 MB through a million writes', async () => {
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
      if (written % 50_000 === 0) largest = Math.max(largest, folderBytes('million.db'));
    }
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(64_000_000);
  } finally {
    await store.close();
  }
});

function folderBytes(prefix: string): number {
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

test('every acknowledged write is there after kill -9 at any moment', async () => {
  const path = join(folder, 'killed.db');
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [writer, path, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const acknowledged: string[] = [];
    const lines = createInterface({ input: child.stdout });
    const enough = 20 + round * 37;
    lines.on('line', (line) => {
      acknowledged.push(line);
      if (acknowledged.length === enough) child.kill('SIGKILL');
    });
    await once(child, 'exit');
    expect(acknowledged.length).toBeGreaterThanOrEqual(enough);
    const store = openSqliteStore({ path });
    try {
      for (const key of acknowledged) expect(await store.get(key), key).toBeDefined();
      expect(await store.revision()).toBeGreaterThanOrEqual(acknowledged.length);
    } finally {
      await store.close();
    }
  }
});

test('a second process is told that the store is held', async () => {
  const path = join(folder, 'held.db');
  const store = openSqliteStore({ path });
  try {
    expect(() => openSqliteStore({ path })).toThrow(expect.objectContaining({ code: 'store_locked' }));
  } finally {
    await store.close();
  }
});

test('a damaged file is named as damaged', () => {
  const path = join(folder, 'damaged.db');
  writeFileSync(path, 'this is no database, and long enough to look like one'.repeat(100));
  expect(() => openSqliteStore({ path })).toThrow(expect.objectContaining({ code: 'store_corrupt' }));
});
