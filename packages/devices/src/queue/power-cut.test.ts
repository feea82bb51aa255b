// A queue under power cuts: whatever was done in whatever order, what was synced is there, and nothing else is made up.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DurableQueue, QueueOptions } from '../ports.ts';
import { openQueue } from './queue.ts';
import { LossyFiles } from './testing/lossy-files.ts';

type Act =
  | { readonly do: 'append'; readonly count: number; readonly bytes: number }
  | { readonly do: 'sync' | 'acknowledge' | 'mark' | 'full' | 'room' | 'keep' }
  | { readonly do: 'cut'; readonly share: number };
const acts = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        count: fc.integer({ min: 1, max: 20 }),
        bytes: fc.integer({ min: 1, max: 9000 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom('sync' as const, 'acknowledge' as const, 'mark' as const, 'keep' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('full' as const, 'room' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('cut' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
  ),
  { maxLength: 60 },
);
const OPTIONS: QueueOptions = { sizeBytes: 64 * 2 ** 20, ageMs: 0, whenFull: 'oldest' };
const ALL = { count: 1e6, bytes: 1e9 };

async function play(list: readonly Act[]): Promise<void> {
  const files = new LossyFiles();
  let queue: DurableQueue = await openQueue('/queue', OPTIONS, files);
  /** By position, what was put in; those up to `synced` must be there. */
  const put = new Map<number, string>();
  let [synced, acknowledged, syncedAcknowledged, number] = [0, 0, 0, 0];
  let [mark, syncedMark] = [0, 0];
  for (const act of list) {
    if (act.do === 'append') {
      for (let at = 0; at < act.count; at++) {
        const id = `m${number++}`;
        try {
          const position = queue.append([
            { id, key: 'd', atMs: 1, priority: 0, data: Buffer.alloc(act.bytes, number) },
          ]);
          put.set(position, id);
        } catch (error) {
          expect((error as Error).name).toBe('QueueFull');
        }
      }
    } else if (act.do === 'sync') {
      const [last, acks, marks] = [
        queue.status().lastPosition,
        acknowledged,
        (queue.marked('m') as number | undefined) ?? 0,
      ];
      const done = await queue.sync().then(
        () => true,
        () => false,
      );
      if (done) [synced, syncedAcknowledged, syncedMark] = [last, acks, marks];
    } else if (act.do === 'acknowledge') {
      acknowledged = queue.status().lastPosition;
      queue.acknowledge(acknowledged);
    } else if (act.do === 'mark') queue.mark('m', ++mark);
    else if (act.do === 'keep') queue.keepFrom(acknowledged);
    else if (act.do === 'full' || act.do === 'room') files.full = act.do === 'full';
    else if (act.do === 'cut') {
      files.cutPower(act.share);
      await queue.close().catch(() => undefined);
      queue = await openQueue('/queue', OPTIONS, files);
      const status = queue.status();
      const found = await queue.read(status.acknowledged, ALL);
      // No entry that nobody put in, none twice, in order.
      for (const { position, id } of found) expect(put.get(position)).toBe(id);
      expect(found.map(({ position }) => position)).toEqual(
        found.map(({ position }) => position).sort((a, b) => a - b),
      );
      // All that was durable and is not acknowledged.
      const there = new Set(found.map(({ position }) => position));
      for (let position = status.acknowledged + 1; position <= synced; position++)
        expect(there.has(position)).toBe(true);
      expect(status.acknowledged).toBeLessThanOrEqual(acknowledged);
      expect(status.acknowledged).toBeGreaterThanOrEqual(syncedAcknowledged);
      expect((queue.marked('m') as number | undefined) ?? 0).toBeGreaterThanOrEqual(syncedMark);
      expect(status.lastPosition).toBeGreaterThanOrEqual(synced);
      for (const position of [...put.keys()]) if (position > status.lastPosition) put.delete(position);
      acknowledged = status.acknowledged;
      [synced, syncedAcknowledged] = [status.lastPosition, status.acknowledged];
      mark = Math.max(mark, (queue.marked('m') as number | undefined) ?? 0);
      syncedMark = (queue.marked('m') as number | undefined) ?? 0;
    }
  }
  await queue.close().catch(() => undefined);
}

test('what was synced outlives every power cut, also on a full disk, and nothing is made up', async () => {
  await fc.assert(fc.asyncProperty(acts, play), { numRuns: 150 });
});
