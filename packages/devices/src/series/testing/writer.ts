/** For tests: a process that writes points until it is killed, and says after each batch up to where all are safe. */
import { openSeries } from '../store.ts';

const BATCH = 50;
const START_MS = Date.parse('2026-06-15T12:00:00Z');
const [folder, from] = process.argv.slice(2);
const store = await openSeries(folder!, { sizeBytes: 2 ** 28, now: () => START_MS });
const sink = store.sink('default', 'temps');
for (let at = Number(from); ; at += BATCH) {
  const batch = Array.from({ length: BATCH }, (_, n) => ({
    ...{ id: `n/${at + n}`, project: 'default', device: `d${n % 9}`, topic: 't', atMs: START_MS + at + n },
    payload: Buffer.from(String(at + n)),
  }));
  await sink.deliver(batch, AbortSignal.timeout(60_000));
  process.send?.(at + BATCH);
}
