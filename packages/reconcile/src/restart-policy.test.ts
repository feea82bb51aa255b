import { EXIT_REASONS } from '@skerry/model';
import { describe, expect, it } from 'vitest';
import { afterExit, RESTART_TABLE } from './restart-policy.ts';

describe('restart policy', () => {
  it('has an answer for every reason of an end', () => {
    expect(Object.keys(RESTART_TABLE).sort()).toEqual([...EXIT_REASONS].sort());
  });

  it('always starts again what ended by itself, for whatever reason', () => {
    const own = EXIT_REASONS.filter(
      (reason) => !['stopped', 'killed', 'replaced', 'requested'].includes(reason),
    );
    for (const reason of own) expect(afterExit('always', reason)).toBe('restart');
  });

  it('on-failure lets a guest rest that completed, and never lets one rest as failed that did not', () => {
    expect(afterExit('on-failure', 'completed')).toBe('stop');
    expect(afterExit('on-failure', 'oom')).toBe('restart');
    expect(afterExit('never', 'error')).toBe('fail');
    expect(afterExit('never', 'completed')).toBe('stop');
  });

  it('never restarts what somebody stopped, and restarts at once what somebody restarted', () => {
    for (const policy of ['always', 'on-failure', 'never'] as const) {
      expect(afterExit(policy, 'stopped')).toBe('stop');
      expect(afterExit(policy, 'killed')).toBe('stop');
      expect(afterExit(policy, 'requested')).toBe('again');
    }
  });
});
