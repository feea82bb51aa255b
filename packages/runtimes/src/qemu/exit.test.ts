// A table of ends as they were measured with each family of kernels, and what is made of each.
import type { GuestExit } from '@skerry/model';
import { describe, expect, test } from 'vitest';
import { type ExitEvidence, type GuestEnd, judgeExit } from './exit.ts';

const MiB = 1024 * 1024;
const ended = (number: number, rest: Partial<GuestEnd> = {}): GuestEnd => ({
  how: 'exited',
  number,
  atMs: 5000,
  panicked: false,
  ...rest,
});
const killed = (number: number) => ended(number, { how: 'signaled' });

function judge(evidence: Partial<ExitEvidence>): GuestExit {
  const nothing = { end: undefined, family: 'generic', console: [], errors: [], asked: undefined };
  return judgeExit({ ...nothing, oomKills: 0, memoryLimitBytes: 64 * MiB, nowMs: 9000, ...evidence });
}

type Row = readonly [why: string, evidence: Partial<ExitEvidence>, exit: Partial<GuestExit>];

const OWN_CODES: Row[] = [
  [
    'pebble: code 0 is printed',
    { end: ended(1), console: ['pebble: done', 'EXIT code=0'] },
    { reason: 'completed', code: 0 },
  ],
  [
    'pebble: a function that does not load',
    { end: ended(5), family: 'pebble', console: ['Error: no luck', 'EXIT code=2'] },
    { reason: 'error', code: 2, message: 'ended by itself with code 2: Error: no luck' },
  ],
  [
    'pebble: a fault of its kernel',
    { end: ended(9), family: 'pebble', console: ['pebble: fault at 0', 'EXIT code=4'] },
    { reason: 'panic', code: 4 },
  ],
  [
    'pebble: too little memory',
    { end: ended(11), family: 'pebble', console: ['pebble: too little memory', 'EXIT code=5'] },
    { reason: 'panic', code: 5 },
  ],
  [
    'a code that was printed only counts beside the exit device',
    { end: ended(0), console: ['EXIT code=7'] },
    { reason: 'completed' },
  ],
  [
    'the last of several codes counts',
    { end: ended(7), console: ['EXIT code=9', 'EXIT code=3'] },
    { code: 3 },
  ],
  [
    'a code that is part of a longer line does not count',
    { end: ended(7), console: ['app: EXIT code=9'] },
    { reason: 'error', code: 3 },
  ],
  ['Nanos: status 3 is exit(1)', { end: ended(3), console: ['hello'] }, { reason: 'error', code: 1 }],
  [
    'Nanos: status 1 with something printed is success',
    { end: ended(1), console: ['hello'] },
    { reason: 'completed', code: 0 },
  ],
];

const FAMILIES: Row[] = [
  ['Unikraft: status 83', { end: ended(83), family: 'unikraft' }, { reason: 'completed', code: 0 }],
  [
    'Unikraft: status 85',
    { end: ended(85), family: 'unikraft', console: ['CRASH: page fault'] },
    { reason: 'panic', message: 'its kernel gave up: CRASH: page fault' },
  ],
  [
    'Solo5: status 83 with code 0 in words',
    { end: ended(83), family: 'solo5', console: ['Solo5: solo5_exit(0) called'] },
    { reason: 'completed', code: 0 },
  ],
  [
    'Solo5: status 83 with another code in words',
    { end: ended(83), family: 'solo5', console: ['Solo5: solo5_exit(2) called'] },
    { reason: 'error', code: 2 },
  ],
  [
    'Solo5: status 83 after an abort',
    { end: ended(83), family: 'solo5', console: ['Solo5: ABORT: cpu_x86_64.c:171'] },
    { reason: 'panic' },
  ],
  [
    'Hermit: status 3 is success',
    { end: ended(3), family: 'hermit', console: ['hello'] },
    { reason: 'completed', code: 0 },
  ],
  [
    'Hermit: status 1 is failure',
    { end: ended(1), family: 'hermit', console: ['oh no'] },
    { reason: 'error', code: 1 },
  ],
  [
    'Hermit: status 1 without a word is QEMU failing',
    { end: ended(1), family: 'hermit' },
    { reason: 'start-failed' },
  ],
  [
    'OSv: an abort powers off as well, its words tell',
    {
      ...{ end: ended(0, { shutdown: 'guest-shutdown' }), family: 'osv' },
      console: ['Assertion failed: x (a.cc: 1)', '[backtrace]', '0x1 <f>'],
    },
    { reason: 'panic' },
  ],
  [
    "a tender's status is the guest's",
    { end: ended(3), family: 'solo5-tender' },
    { reason: 'error', code: 3 },
  ],
  ['a tender that ends well', { end: ended(0), family: 'solo5-tender' }, { reason: 'completed', code: 0 }],
  [
    'an abort under a tender',
    { end: ended(255), family: 'solo5-tender', console: ['ABORT'] },
    { reason: 'panic' },
  ],
  [
    'Linux: a panic',
    {
      ...{ end: ended(0, { shutdown: 'guest-reset' }), family: 'linux' },
      console: ['Kernel panic - not syncing: no init'],
    },
    { reason: 'panic' },
  ],
  [
    'Linux: a restart is an end',
    {
      ...{ end: ended(0, { shutdown: 'guest-reset' }), family: 'linux' },
      console: ['[ 1.0] reboot: Restarting system'],
    },
    { reason: 'completed' },
  ],
  [
    'status 83 of a kernel that is not known is its own code',
    { end: ended(83), console: ['bye'] },
    { reason: 'error', code: 41 },
  ],
];

const EVENTS: Row[] = [
  [
    'OSv: powers itself off',
    { end: ended(0, { shutdown: 'guest-shutdown' }), family: 'osv' },
    { reason: 'completed' },
  ],
  [
    'the panic device was written to',
    { end: ended(0, { panicked: true }), console: ['out of memory'] },
    { reason: 'panic', message: 'its kernel gave up: out of memory' },
  ],
  ['QEMU tells of a panic', { end: ended(0, { shutdown: 'guest-panic' }) }, { reason: 'panic' }],
  ['a triple fault', { end: ended(0, { shutdown: 'guest-reset' }) }, { reason: 'panic' }],
];

const HOST: Row[] = [
  [
    'QEMU refuses the kernel: the guest said nothing',
    { end: ended(1), errors: ['qemu: Error loading uncompressed kernel'] },
    {
      reason: 'start-failed',
      code: 1,
      message: expect.stringContaining('Error loading uncompressed kernel'),
    },
  ],
  [
    'QEMU fails with an even status',
    { end: ended(2), errors: ['bad option'] },
    { reason: 'start-failed', code: 2 },
  ],
  ['someone ends QEMU', { end: killed(9) }, { reason: 'signal', signal: 'SIGKILL' }],
  ['QEMU breaks', { end: killed(11) }, { reason: 'signal', signal: 'SIGSEGV' }],
  [
    'the sandbox ends QEMU, memory or not',
    { end: killed(31), oomKills: 1 },
    { reason: 'signal', signal: 'SIGSYS' },
  ],
  ['a signal without a name', { end: killed(63) }, { reason: 'signal', signal: 'signal 63' }],
  [
    'the group ran out of memory',
    { end: killed(9), oomKills: 1 },
    { reason: 'oom', signal: 'SIGKILL', message: expect.stringContaining('64MiB') },
  ],
  ['nobody saw it end', {}, { reason: 'vanished', atMs: 9000 }],
];

const ASKED: Row[] = [
  ['asked, and powered off', { end: ended(0), asked: 'stopped' }, { reason: 'stopped' }],
  ['asked, and its kernel ended with a code', { end: ended(3), asked: 'stopped' }, { reason: 'stopped' }],
  ['asked in vain, then forced', { end: killed(9), asked: 'killed' }, { reason: 'killed' }],
  ['asked, and nobody saw it end', { asked: 'stopped' }, { reason: 'stopped', atMs: 9000 }],
];

describe.each([
  ['its own code', OWN_CODES],
  ['families', FAMILIES],
  ['events', EVENTS],
  ['the host', HOST],
  ['what we asked for', ASKED],
] as const)('an end is judged by %s', (_, rows) => {
  test.each(rows)('%s', (_why, evidence, exit) => {
    const judged = judge(evidence);
    expect(judged).toMatchObject(exit);
    expect(judged.atMs).toBe(evidence.end?.atMs ?? 9000);
    expect(judged.message).not.toBe('');
  });
});

test('a last line without end is cut', () => {
  const { message } = judge({ end: ended(5), console: ['x'.repeat(100_000)] });
  expect(message.length).toBeLessThan(400);
});
