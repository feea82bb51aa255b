import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Launcher } from './launcher.ts';
import { HOST_ENV, launchThrough, run } from './run.ts';

const LAUNCHER = fileURLToPath(new URL('../native/build/skerry-launch', import.meta.url));
const options = (more: object = {}) => ({ signal: new AbortController().signal, timeoutMs: 20_000, ...more });
const sh = (script: string, more?: object) => run('sh', ['-c', script], options(more));

describe.each(['forked', 'launched'] as const)('a program that is %s', (way) => {
  let end = () => {};
  beforeAll(() => {
    if (way === 'launched') end = launchThrough(LAUNCHER);
  });
  afterAll(() => end());

  test('gives what it printed, and its code where that is no error', async () => {
    const result = await sh('echo out; echo err >&2; exit 3', { okCodes: [3] });
    expect(result).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
  });

  test('gets its arguments as they are, its input whole, and a minimal environment', async () => {
    const input = 'x'.repeat(3_000_000);
    const counted = await run('wc', ['-c'], options({ input }));
    expect(counted.stdout.trim()).toBe('3000000');
    const said = await run('printf', ['%s|', 'a b', '', '$HOME', 'ä'], options());
    expect(said.stdout).toBe('a b||$HOME|ä|');
    const { stdout } = await sh('echo "$PATH $LC_ALL $HOME"; pwd');
    expect(stdout).toBe(`${HOST_ENV.PATH} C \n/\n`);
  });

  test('that fails is told with its last words', async () => {
    await expect(sh('echo why >&2; exit 4')).rejects.toMatchObject({
      code: 'host_command_failed',
      message: 'sh failed with code 4: why',
      details: { code: 4, stderr: 'why' },
    });
    await expect(sh('kill -9 $$')).rejects.toThrow('sh was ended by SIGKILL');
  });

  test('that is not there is named', async () => {
    await expect(run('no-such-program', [], options())).rejects.toMatchObject({ code: 'host_missing' });
    await expect(run('/etc/hostname', [], options())).rejects.toMatchObject({ code: 'host_command_failed' });
  });

  test('is ended when its time is over, when it is cancelled, when it prints too much', async () => {
    await expect(sh('exec sleep 60', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'host_timeout' });
    const cancel = new AbortController();
    const cancelled = sh('echo begun; exec sleep 60', { signal: cancel.signal });
    cancel.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
    await expect(sh('exec yes', { maxOutputBytes: 100_000 })).rejects.toThrow(
      'printed more than 100000 bytes',
    );
  });

  test('many go at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 60 }, (_, i) => sh(`cat; echo ${i}`, { input: `${i} ` })),
    );
    expect(all.map(({ stdout }) => stdout)).toEqual(all.map((_, i) => `${i} ${i}\n`));
  });
});

test('when the launcher is killed what it ran is told as failed, and the next program runs without it', async () => {
  const launcher = new Launcher(LAUNCHER, HOST_ENV);
  try {
    const { ended } = launcher.run('sleep', ['2'], '', 1000);
    process.kill(launcher.pid!, 'SIGKILL');
    await expect(ended).rejects.toMatchObject({ code: 'host_command_failed' });
    expect(launcher.usable).toBe(false);
  } finally {
    launcher.close();
  }
  const end = launchThrough('/nonexistent/skerry-launch');
  try {
    expect((await sh('echo on').catch(() => sh('echo on'))).stdout).toBe('on\n');
  } finally {
    end();
  }
});

test('the launcher ends with its input, and leaves no process', async () => {
  const launcher = new Launcher(LAUNCHER, HOST_ENV);
  const { ended } = launcher.run('echo', ['x'], '', 1000);
  expect((await ended).stdout.toString()).toBe('x\n');
  const { pid } = launcher;
  launcher.close();
  await eventually('it is gone', () => !existsSync(`/proc/${pid}`));
});
