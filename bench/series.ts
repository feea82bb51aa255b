/** The time series of a node: durable points a second, what they take on disk and what is written for them, a day asked for by minute. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSeries } from '@skerry/devices';
import type { Finding } from './report.ts';
import { digits, median, percentile } from './statistics.ts';

const DEVICES = 100;
const BATCH = 500;
const DAY_MS = 86_400_000;
/** Of one device. */
const EVERY_MS = 10_000;
const DAY_START_MS = Date.parse('2026-06-15T00:00:00Z');

/** Bytes that this process gave to write(2) and its like (proc(5), wchar): to files only, while this runs. */
const writtenBytes = (): number =>
  Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? Number.NaN);

export async function benchSeries(runs: number): Promise<Finding> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const store = await openSeries(folder, { sizeBytes: 2 ** 32, now: () => DAY_START_MS + DAY_MS });
  const signal = new AbortController().signal;
  const rates: number[] = [];
  const latencies: number[] = [];
  const queries: number[] = [];
  try {
    const sink = store.sink('default', 'day');
    const before = writtenBytes();
    const points = (DAY_MS / EVERY_MS) * DEVICES;
    for (let at = 0; at < points; at += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, n) => ({
        ...{ id: `bench/${at + n}`, project: 'default', device: `device-${(at + n) % DEVICES}`, topic: 't' },
        atMs: DAY_START_MS + Math.floor((at + n) / DEVICES) * EVERY_MS + ((at + n) % DEVICES),
        payload: Buffer.from(`{"celsius":${20 + ((at + n) % 97) / 8}}`),
      }));
      const begunMs = performance.now();
      await sink.deliver(batch, signal);
      const tookMs = performance.now() - begunMs;
      latencies.push(tookMs);
      rates.push((BATCH / tookMs) * 1000);
    }
    const written = writtenBytes() - before;
    const { diskBytes } = store.status();
    let rows = 0;
    for (let run = 0; run < runs; run++) {
      rows = 0;
      const begunMs = performance.now();
      const query = { project: 'default', series: 'day', stepMs: 60_000, aggregate: 'mean' as const };
      for await (const _ of store.query(query)) rows++;
      queries.push(performance.now() - begunMs);
    }
    const perSecond = points / (latencies.reduce((sum, ms) => sum + ms, 0) / 1000);
    return {
      id: 'series',
      title: 'Time series of a node',
      verdicts: [],
      tables: [
        {
          title: `A day of ${DEVICES} devices, a point each ${EVERY_MS / 1000} s, in batches of ${BATCH}, each durable`,
          columns: ['', ''],
          rows: [
            ['points a second', digits(perSecond)],
            ['a batch, p50', `${digits(median(latencies))} ms`],
            ['a batch, p99', `${digits(percentile(latencies, 0.99))} ms`],
            ['bytes on disk per point, with sums by minute and hour', digits(diskBytes / points)],
            ['bytes written per point', digits(written / points)],
            ['bytes written per byte on disk', digits(written / diskBytes)],
            [`the day by minute, ${rows} points`, `${digits(median(queries))} ms`],
          ],
        },
      ],
      notes: ['Bytes written are those that the process gave to the system, the write-ahead log included.'],
      samples: { rates, latencies, queries },
    };
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
