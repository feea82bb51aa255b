import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HEALTH_START, type HealthResult, healthAfter, nextCheckMs } from './health.ts';

const policy = { intervalMs: 5000, timeoutMs: 1000, failures: 3, startPeriodMs: 10_000 };
const run = (results: readonly HealthResult[]) =>
  results.reduce((state, result) => healthAfter(policy, state, result), HEALTH_START);

describe('health', () => {
  it('is ready with the first good check', () => {
    expect(run([{ ok: true, sinceStartMs: 20 }]).verdict).toBe('healthy');
  });

  it('does not count failures of the start period', () => {
    const early = Array.from({ length: 50 }, (_, i) => ({ ok: false, sinceStartMs: i * 100 }));
    expect(run(early)).toMatchObject({ verdict: 'unknown', failuresInRow: 0 });
  });

  it('is unhealthy after `failures` bad ones in a row past the start period, and a good one clears the count', () => {
    const bad = { ok: false, sinceStartMs: 11_000 };
    expect(run([bad, bad]).verdict).toBe('unknown');
    expect(run([bad, bad, bad]).verdict).toBe('unhealthy');
    expect(
      run([{ ok: true, sinceStartMs: 1 }, bad, bad, { ok: true, sinceStartMs: 1 }, bad, bad]).verdict,
    ).toBe('healthy');
  });

  it('counts failures at once when it was ready within the start period', () => {
    const bad = { ok: false, sinceStartMs: 100 };
    expect(run([{ ok: true, sinceStartMs: 1 }, bad, bad, bad]).verdict).toBe('unhealthy');
  });

  it('checks often while it waits to be ready, and at the interval after that', () => {
    expect(nextCheckMs(policy, HEALTH_START)).toBe(10);
    const states = Array.from({ length: 100 }, (_, attempts) => ({ ...HEALTH_START, attempts }));
    const pauses = states.map((state) => nextCheckMs(policy, state)!);
    expect(pauses.every((pause, i) => i === 0 || pause >= pauses[i - 1]!)).toBe(true);
    expect(pauses.at(-1)).toBe(5000);
    expect(nextCheckMs(policy, run([{ ok: true, sinceStartMs: 1 }]))).toBe(5000);
  });

  it('calls unhealthy only what failed `failures` times in a row at the end', () => {
    const result = fc.record({ ok: fc.boolean(), sinceStartMs: fc.nat({ max: 60_000 }) });
    fc.assert(
      fc.property(fc.array(result, { maxLength: 40 }), (results) => {
        let state = HEALTH_START;
        let inRow = 0;
        for (const one of results) {
          state = healthAfter(policy, state, one);
          inRow = one.ok ? 0 : inRow + 1;
          if (state.verdict === 'unhealthy')
            return inRow >= policy.failures && nextCheckMs(policy, state) === undefined;
          if (nextCheckMs(policy, state) === undefined) return false;
        }
        return true;
      }),
    );
  });
});
