import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffAfter, RESTART_BACKOFF } from './backoff.ts';

const none = () => 0;

describe('backoff', () => {
  it('begins at 250 ms, doubles, and stays below a minute', () => {
    const delays: number[] = [];
    let failures = 0;
    for (let i = 0; i < 10; i++) {
      const next = backoffAfter(RESTART_BACKOFF, failures, 0, none);
      failures = next.failures;
      delays.push(next.delayMs);
    }
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  it('begins anew after a minute of running', () => {
    expect(backoffAfter(RESTART_BACKOFF, 7, 60_000, none)).toEqual({ failures: 1, delayMs: 250 });
    expect(backoffAfter(RESTART_BACKOFF, 7, 59_999, none).failures).toBe(8);
  });

  it('never exceeds the cap and never goes below the share that jitter leaves, whatever the count', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 10_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (failures, chance) => {
          const full = Math.min(60_000, 250 * 2 ** Math.min(failures, 60));
          const { delayMs } = backoffAfter(RESTART_BACKOFF, failures, 0, () => chance);
          return delayMs <= full && delayMs >= full * 0.9;
        },
      ),
    );
  });
});
