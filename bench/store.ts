/** Durable puts of the store with one and with 64 writers, beside SQLite itself with a commit for each put, in turns. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteStore } from '@skerry/store';
import Database from 'better-sqlite3';
import type { Finding } from './report.ts';
import { digits, median, percentile, takingTurns } from './statistics.ts';

const ROUND_MS = 400;
const KEYS = 1000;
/** Each differs from the one before: SQLite writes nothing where nothing changes. */
const valueAt = (turn: number) => JSON.stringify({ turn, text: 'x'.repeat(500) });

export async function benchStore(runs: number): Promise<Finding> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const store = openSqliteStore({ path: join(folder, 'store.db') });
  const raw = new Database(join(folder, 'raw.db'));
  const latencies = new Map<number, number[]>();
  let turn = 0;
  try {
    raw.pragma('journal_mode = WAL');
    raw.pragma('synchronous = FULL');
    raw.exec('CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID');
    const put = raw.prepare(
      'INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    );
    const perSecond = async (writers: number): Promise<number> => {
      const begunMs = performance.now();
      const own = latencies.get(writers) ?? [];
      latencies.set(writers, own);
      let puts = 0;
      await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          for (let at = writer; performance.now() - begunMs < ROUND_MS; at += writers) {
            const sentMs = performance.now();
            await store.txn([], [{ put: `/bench/${at % KEYS}`, value: valueAt(turn++) }]);
            own.push(performance.now() - sentMs);
            puts++;
          }
        }),
      );
      return (puts / (performance.now() - begunMs)) * 1000;
    };
    const samples = await takingTurns(runs, {
      one: () => perSecond(1),
      many: () => perSecond(64),
      sqlite: async () => {
        const begunMs = performance.now();
        let puts = 0;
        for (; performance.now() - begunMs < ROUND_MS; puts++)
          put.run(`/bench/${puts % KEYS}`, valueAt(turn++));
        return (puts / (performance.now() - begunMs)) * 1000;
      },
    });
    const row = (name: string, values: readonly number[], own?: readonly number[]) => [
      name,
      digits(median(values)),
      ...[0.5, 0.99].map((part) => (own ? `${digits(percentile(own, part))} ms` : '')),
      `${digits(median(values) / median(samples.sqlite))} x`,
    ];
    return {
      id: 'store',
      title: 'The store',
      verdicts: [],
      tables: [
        {
          title: 'Durable puts of 500 bytes',
          columns: ['', 'a second', 'p50', 'p99', 'beside SQLite'],
          rows: [
            row('store, 1 writer', samples.one, latencies.get(1)),
            row('store, 64 writers', samples.many, latencies.get(64)),
            row('SQLite (WAL, synchronous=FULL), a commit for each', samples.sqlite),
          ],
        },
      ],
      notes: [
        'The store also numbers each change, keeps it in a log for watchers and judges comparisons; SQLite beside it keeps the bare value.',
      ],
      samples,
    };
  } finally {
    await store.close();
    raw.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
