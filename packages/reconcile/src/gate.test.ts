import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { pause } from './clock.ts';
import { Gate } from './gate.ts';
import { ManualClock } from './manual-clock.ts';
import { supervise } from './supervise.ts';

const never = new AbortController().signal;
setMaxListeners(0, never);

describe('gate', () => {
  it('never lets more than its limit in, lets all in in the end, and in order', async () => {
    const gate = new Gate(3);
    let inside = 0;
    let most = 0;
    const order: number[] = [];
    const work = Array.from({ length: 20 }, (_, i) =>
      gate.run(async () => {
        most = Math.max(most, ++inside);
        order.push(i);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      }, never),
    );
    await Promise.all(work);
    expect(most).toBe(3);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it('forgets who gave up waiting', async () => {
    const gate = new Gate(1);
    const cancel = new AbortController();
    let free = () => {};
    const first = gate.run(() => new Promise<void>((resolve) => (free = resolve)), never);
    const second = gate.run(async () => 'in', cancel.signal);
    const third = gate.run(async () => 'in', never);
    cancel.abort();
    await expect(second).rejects.toMatchObject({ code: 'cancelled' });
    free();
    await first;
    expect(await third).toBe('in');
  });
});

describe('supervise', () => {
  it('tries again with growing pauses, begins anew after stable work, and leaves no timer when it ends', async () => {
    const clock = new ManualClock();
    const end = new AbortController();
    const pauses: number[] = [];
    let runs = 0;
    const done = supervise({
      clock,
      signal: end.signal,
      random: () => 0,
      run: async (up) => {
        if (++runs < 4) throw new Error('down');
        up();
        await pause(clock, 31_000, end.signal);
      },
      onDown: (_error, retryInMs) => pauses.push(retryInMs),
    });
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(clock.nextInMs ?? 0);
    }
    expect(pauses).toEqual([250, 500, 1000, 250]);
    end.abort();
    await done;
    expect(clock.waiting).toBe(0);
  });
});
