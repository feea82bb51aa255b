import { expect, test } from 'vitest';
import { type ExitEvidence, judgeExit } from './exit.ts';
import { idRange } from './id-ranges.ts';

const evidence = (change: Partial<ExitEvidence>): ExitEvidence => ({
  ...{ end: undefined, asked: undefined, oomCount: 0, lastWords: undefined },
  ...{ memoryLimitBytes: 64 << 20, nowMs: 7 },
  ...change,
});
const end = (how: 'exited' | 'signaled' | 'monitor', number: number) => ({ how, number, atMs: 5 });

test.each([
  ['nobody saw it end', {}, { reason: 'vanished', atMs: 7 }],
  ['code 0', { end: end('exited', 0) }, { reason: 'completed', code: 0, atMs: 5 }],
  ['a code', { end: end('exited', 3), lastWords: 'no luck' }, { reason: 'error', code: 3 }],
  ['power-off', { end: end('signaled', 2) }, { reason: 'completed' }],
  ['a signal', { end: end('signaled', 11) }, { reason: 'signal', signal: 'SIGSEGV' }],
  ['killed, with memory to spare', { end: end('signaled', 9) }, { reason: 'signal', signal: 'SIGKILL' }],
  ['killed for want of memory', { end: end('signaled', 9), oomCount: 1 }, { reason: 'oom' }],
  ['another signal after want of memory', { end: end('signaled', 6), oomCount: 1 }, { reason: 'signal' }],
  ['its monitor', { end: end('monitor', 9) }, { reason: 'signal', signal: 'SIGKILL' }],
  ['asked', { end: end('signaled', 2), asked: 'stopped' as const }, { reason: 'stopped' }],
  ['forced', { end: end('signaled', 9), asked: 'killed' as const, oomCount: 1 }, { reason: 'killed' }],
])('an end is judged rightly: %s', (_what, change, expected) => {
  expect(judgeExit(evidence(change))).toMatchObject(expected);
});

test('the last words are told with a failure', () => {
  expect(judgeExit(evidence({ end: end('exited', 3), lastWords: 'no luck' })).message).toContain('no luck');
});

test('a guest has the same range of ids each time, and never one that is taken', () => {
  const first = idRange('0a1b2c3d', 'guest', new Set());
  expect(idRange('0a1b2c3d', 'guest', new Set())).toBe(first);
  const next = idRange('0a1b2c3d', 'guest', new Set([first]));
  expect(Math.abs(next - first)).toBeGreaterThanOrEqual(65_536);
  for (let guest = 0; guest < 1000; guest++)
    expect(idRange('0a1b2c3d', `guest-${guest}`, new Set()) + 65_536).toBeLessThan(2 ** 31);
});
