import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, WorkQueue } from './work-queue.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('work queue', () => {
  it('has one worker per key, loses no event, and ends at the newest request of each tag', async () => {
    const action = fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      kind: fc.constantFrom('event', 'request', 'yield'),
      tag: fc.constantFrom('desired', 'retire'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const working = new Set<string>();
        const events = new Map<string, number[]>();
        const requests = new Map<string, number>();
        let overlapped = false;
        const queue = new WorkQueue<string, number, { tag: string; n: number }>({
          work: async (key, batch) => {
            overlapped ||= working.has(key);
            working.add(key);
            await turn();
            events.set(key, [...(events.get(key) ?? []), ...batch.events]);
            for (const { tag, n } of batch.requests) requests.set(`${key}/${tag}`, n);
            working.delete(key);
          },
          onError: () => undefined,
        });
        const sentEvents = new Map<string, number[]>();
        const newest = new Map<string, number>();
        for (const [n, { key, kind, tag }] of actions.entries()) {
          if (kind === 'yield') await turn();
          else if (kind === 'event') {
            sentEvents.set(key, [...(sentEvents.get(key) ?? []), n]);
            queue.event(key, n);
          } else {
            newest.set(`${key}/${tag}`, n);
            queue.request(key, tag, { tag, n });
          }
        }
        await queue.idle();
        expect(overlapped).toBe(false);
        for (const [key, sent] of sentEvents) expect(events.get(key)).toEqual(sent);
        expect(requests).toEqual(newest);
        expect(queue.busy).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('gives host events before requests, and coalesces requests of one tag', async () => {
    const batches: Batch<string, string>[] = [];
    const queue = new WorkQueue<string, string, string>({
      work: async (_key, batch) => void batches.push(batch),
      onError: () => undefined,
    });
    queue.request('a', 'desired', 'first');
    queue.event('a', 'exited');
    queue.request('a', 'desired', 'second');
    await queue.idle();
    expect(batches).toEqual([{ events: ['exited'], requests: ['second'] }]);
  });

  it('goes on after a worker that threw', async () => {
    const errors: unknown[] = [];
    const done: string[] = [];
    const queue = new WorkQueue<string, string, never>({
      work: async (_key, batch) => {
        if (batch.events.includes('bad')) throw new Error('no');
        done.push(...batch.events);
      },
      onError: (_key, error) => errors.push(error),
    });
    queue.event('a', 'bad');
    await queue.idle();
    queue.event('a', 'good');
    await queue.idle();
    expect(errors).toHaveLength(1);
    expect(done).toEqual(['good']);
  });
});
