// The pure parts: commands, environment, users, endings, and lines of a log.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseLogLine } from '../log-lines.ts';
import { capabilitySet, DEFAULT_CAPABILITIES } from './capabilities.ts';
import { judgeExit, signalNumber } from './exit-judge.ts';
import { lastCause } from './failures.ts';
import { commandOf, environmentOf } from './oci-spec.ts';
import { layerFolders, resolveUser } from './oci-user.ts';

test('a command replaces the entrypoint and drops its arguments; arguments alone replace arguments', () => {
  const image = { entrypoint: ['/entry'], cmd: ['default'] };
  expect(commandOf({}, image)).toEqual(['/entry', 'default']);
  expect(commandOf({ args: ['mine'] }, image)).toEqual(['/entry', 'mine']);
  expect(commandOf({ command: ['/other'] }, image)).toEqual(['/other']);
  expect(commandOf({ command: ['/other'], args: ['mine'] }, image)).toEqual(['/other', 'mine']);
  expect(() => commandOf({}, {})).toThrow(/no command/);
});

test('the manifest wins over the image, the image over defaults', () => {
  const env = environmentOf({ name: 'n', env: { A: '2', E: 'a=b' } }, { env: ['A=1', 'PATH=/x', 'B'] });
  expect(env.sort()).toEqual(['A=2', 'B', 'E=a=b', 'HOSTNAME=n', 'PATH=/x']);
});

test('an end is told by what is known: asked for, memory, signal, code', () => {
  const facts = { atMs: 1, outOfMemory: false, memoryLimitBytes: 64 * 1024 * 1024 };
  expect(judgeExit({ ...facts, code: 0 }).reason).toBe('completed');
  expect(judgeExit({ ...facts, code: 2 }).reason).toBe('error');
  expect(judgeExit({ ...facts, code: 137 })).toMatchObject({ reason: 'signal', signal: 'SIGKILL' });
  expect(judgeExit({ ...facts, code: 137, outOfMemory: true }).reason).toBe('oom');
  expect(judgeExit({ ...facts, code: 0, outOfMemory: true }).reason).toBe('completed');
  expect(judgeExit({ ...facts, code: 143, stop: { forced: false } }).reason).toBe('stopped');
  expect(judgeExit({ ...facts, code: 137, stop: { forced: true } }).reason).toBe('killed');
  expect(judgeExit({ ...facts, code: 0, stop: { forced: true } }).reason).toBe('stopped');
  expect(judgeExit({ ...facts, code: 255 }).reason).toBe('error');
  expect([signalNumber('SIGQUIT'), signalNumber('term'), signalNumber('9'), signalNumber('NOPE')]).toEqual([
    3,
    15,
    9,
    undefined,
  ]);
});

test('users come from the topmost layer that has the file, and no link leads out of the image', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-users-'));
  try {
    const [top, base, evil] = ['top', 'base', 'evil'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (const layer of [top, base]) mkdirSync(join(layer, 'etc'), { recursive: true });
    writeFileSync(join(base, 'etc/passwd'), 'app:x:5:6::/:\n');
    writeFileSync(join(top, 'etc/group'), 'app:x:6:\nmore:x:7:other,app\n');
    expect(resolveUser('app', [top, base])).toEqual({ uid: 5, gid: 6, additionalGids: [6, 7] });
    expect(resolveUser('app:more', [top, base])).toEqual({ uid: 5, gid: 7, additionalGids: [7] });
    expect(resolveUser('99', [top, base])).toEqual({ uid: 99, gid: 0, additionalGids: [0] });
    for (const root of ['', '0'])
      expect(resolveUser(root, [])).toEqual({ uid: 0, gid: 0, additionalGids: [0] });
    expect(() => resolveUser('nobody-here', [top, base])).toThrow(/no user/);
    writeFileSync(join(folder, 'secret'), 'app:x:0:0::/:\n');
    mkdirSync(join(evil, 'etc'), { recursive: true });
    symlinkSync(join(folder, 'secret'), join(evil, 'etc/passwd'));
    expect(() => resolveUser('app', [evil, base])).toThrow(/no user/);
    rmSync(join(evil, 'etc'), { recursive: true });
    symlinkSync(folder, join(evil, 'etc'));
    writeFileSync(join(folder, 'passwd'), 'app:x:0:0::/:\n');
    expect(resolveUser('app', [evil, base])).toMatchObject({ uid: 5 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('layer folders are read from the mounts of a snapshot, topmost first', () => {
  expect(layerFolders([{ type: 'bind', source: '/a', options: ['ro'] }])).toEqual(['/a']);
  const options = ['index=off', 'workdir=/w', 'upperdir=/u', 'lowerdir=/l2:/l1'];
  expect(layerFolders([{ type: 'overlay', source: 'overlay', options }])).toEqual(['/u', '/l2', '/l1']);
});

test('a capability is known by name or refused', () => {
  expect(capabilitySet([])).toEqual([...DEFAULT_CAPABILITIES]);
  expect(capabilitySet(['CAP_NET_ADMIN'])).toContain('CAP_NET_ADMIN');
  expect(() => capabilitySet(['CAP_SYS_RAWIO'])).toThrow(/CAP_SYS_RAWIO/);
  expect(() => capabilitySet(['NET_ADMIN'])).toThrow(/no capability/);
});

test('a log line is taken apart, and what is none is left out', () => {
  expect(parseLogLine('1700000000000 e a b  c')).toEqual({
    atMs: 1_700_000_000_000,
    stream: 'stderr',
    text: 'a b  c',
  });
  expect(parseLogLine('1700000000000 o ')).toMatchObject({ stream: 'stdout', text: '' });
  expect(parseLogLine('garbage')).toBeUndefined();
});

test('an error of runc is told in its own words', () => {
  const text =
    'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/x": stat /x: no such file or directory: unknown';
  expect(lastCause(text)).toBe('exec: "/x": stat /x: no such file or directory');
});
