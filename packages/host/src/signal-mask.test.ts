import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { heedsSignal } from './signal-mask.ts';

const { SIGUSR1, SIGUSR2 } = constants.signals;

test('a process heeds the signals that it catches, and no others', async () => {
  // It starts no other process: while a shell does, it holds all signals back.
  const child = spawn('/bin/sh', ['-c', 'trap "exit 0" USR2; read line'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  try {
    await eventually('it listens', () => heedsSignal(child.pid!, SIGUSR2));
    expect(heedsSignal(child.pid!, SIGUSR1)).toBe(false);
  } finally {
    child.kill('SIGKILL');
  }
});

test('one that is gone heeds nothing', () => {
  expect(heedsSignal(2 ** 22 + 1, SIGUSR2)).toBe(false); // beyond the largest id (proc(5), pid_max)
});
