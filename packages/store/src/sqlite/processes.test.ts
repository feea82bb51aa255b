// The SQLite engine against other processes: kill -9 at random moments, and a store that another one holds.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { never, take } from '../conformance/bed.ts';
import { openSqliteStore } from './sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-processes-'));
// Beside node_modules, so that the native module is found.
const root = fileURLToPath(new URL('../../../../', import.meta.url));
const program = join(root, `node_modules/.skerry-store-writer-${process.pid}.mjs`);
const children: ChildProcess[] = [];
beforeAll(async () => {
  await build({
    entryPoints: [fileURLToPath(new URL('./kill-writer.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@skerry/source'],
    external: ['better-sqlite3'],
  });
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
  rmSync(program, { force: true });
});

/** Resolves with the first acknowledgement; `acknowledged` grows until the end. */
async function startWriter(path: string, round: number) {
  const child = spawn(process.execPath, [program, path, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const acknowledged: string[] = [];
  const lines = createInterface({ input: child.stdout! });
  const finished = once(lines, 'close');
  lines.on('line', (line) => acknowledged.push(line));
  await Promise.race([once(lines, 'line'), finished]);
  return {
    acknowledged,
    async kill() {
      child.kill('SIGKILL');
      await finished;
    },
  };
}

test('after kill -9 at random moments every acknowledged write is there, and no transaction is there by half', async () => {
  const path = join(folder, 'killed.db');
  const acknowledged: string[] = [];
  for (let round = 0; round < 10; round++) {
    const writer = await startWriter(path, round);
    const afterMs = Math.random() * 60;
    await wait(afterMs);
    await writer.kill();
    const told = `round ${round}, killed after ${afterMs.toFixed(2)} ms`;
    expect(writer.acknowledged.length, told).toBeGreaterThan(0);
    acknowledged.push(...writer.acknowledged);
    const store = openSqliteStore({ path, keepRevisions: 1_000_000 });
    try {
      const { entries, revision } = await store.list('/');
      const present = new Set(entries.map((entry) => entry.key));
      const lost = acknowledged.filter((stem) => !present.has(`${stem}/a`) || !present.has(`${stem}/b`));
      expect(lost, told).toEqual([]);
      // Each transaction is two new keys and one revision: any half of one would break these.
      expect(entries.length, told).toBe(revision * 2);
      const { oldestRevision } = store.stats();
      const from = oldestRevision - 1;
      const log = await take(store.watch('/', { from, signal: never() }), revision - from);
      expect(log.every((batch, i) => batch.revision === from + 1 + i && batch.events.length === 2)).toBe(
        true,
      );
    } finally {
      await store.close();
    }
  }
});

test('a store that another process holds is named as held, and is free when that one is killed', async () => {
  const path = join(folder, 'held.db');
  const writer = await startWriter(path, 0);
  expect(() => openSqliteStore({ path })).toThrow(expect.objectContaining({ code: 'store_locked' }));
  await writer.kill();
  await openSqliteStore({ path }).close();
});

test('one process can not open a store twice', async () => {
  const path = join(folder, 'twice.db');
  const store = openSqliteStore({ path });
  try {
    expect(() => openSqliteStore({ path })).toThrow(expect.objectContaining({ code: 'store_locked' }));
    await store.txn([], [{ put: '/a', value: '1' }]);
  } finally {
    await store.close();
  }
});
