// skerry-run with programs in QEMU's place: what they get, and what is kept of what they do.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, processesWithArgument, processRef, run, waitForEnd } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildNative, supervisorPath } from './testing/bed.ts';

const signal = new AbortController().signal;
let folder: string;
let fakes = 0;
const at = (name: string) => join(folder, name);
const read = (name: string) => readFileSync(at(name), 'utf8');

beforeAll(buildNative);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-run-'));
  chmodSync(folder, 0o755);
  mkdirSync(at('run'));
});
afterEach(async () => {
  for (const one of processesWithArgument(folder)) {
    process.kill(one.pid, 'SIGKILL');
    await waitForEnd(one, 5000);
  }
  rmSync(folder, { recursive: true, force: true });
});

/** A program in QEMU's place, in Node's language: `fd` 3 is the console, 6 the monitor. */
async function supervise(script: string, ...more: string[]): Promise<void> {
  const fake = at(`fake-qemu-${++fakes}`);
  writeFileSync(fake, `#!${process.execPath}\n${script}\n`, { mode: 0o755 });
  const folders = ['--folder', at('run'), '--log', folder, '--uid', '64042', '--gid', '64042'];
  await run(supervisorPath, [...folders, ...more, '--', fake, folder], { signal, timeoutMs: 10_000 });
}
const exit = () => eventually('the exit is written', () => existsSync(at('run/exit')) && read('run/exit'));
const logged = () => read('log').split('\n').filter(Boolean);

test('it starts in the background, and the end is written with status, time and reason', async () => {
  const before = Date.now();
  await supervise('process.exit(7)');
  const [how, number, atMs, reason, panicked] = (await exit()).trim().split(' ');
  expect([how, number, reason, panicked]).toEqual(['exited', '7', '-', '0']);
  expect(Number(atMs)).toBeGreaterThanOrEqual(before);
  await eventually('the supervisor ends', () => processesWithArgument(folder).length === 0);
  expect(existsSync(at('run/qmp'))).toBe(false);
  expect(existsSync(at('run/console'))).toBe(false);
});

test('an end by a signal is told as one', async () => {
  await supervise('process.kill(process.pid, "SIGKILL")');
  expect(await exit()).toMatch(/^signaled 9 \d+ - 0\n$/);
});

test('what it starts has no rights, no privileges to gain, no surroundings, and no file but those handed over', async () => {
  mkdirSync(at('closed'), { mode: 0o700 }); // by its path it can not be reached
  writeFileSync(at('closed/kernel'), 'the kernel', { mode: 0o644 });
  const script = `const fs = require('node:fs'); const say = (value) => fs.writeSync(3, JSON.stringify(value) + '\\n');
    say({ uid: process.getuid(), gid: process.getgid(), groups: process.getgroups(), env: Object.keys(process.env).sort() });
    say(fs.readFileSync('/proc/self/status', 'utf8').match(/NoNewPrivs:.*|CapEff:.*/g));
    say(fs.readFileSync('/proc/self/fd/7', 'utf8'));
    try { fs.readFileSync(${JSON.stringify(at('closed/kernel'))}); say('readable'); } catch (error) { say(error.code); }`;
  await supervise(script, '--open', at('closed/kernel'));
  await exit();
  const words = logged().map((line) => JSON.parse(line.replace(/^\d+ c /, '')) as unknown);
  expect(words).toEqual([
    { uid: 64042, gid: 64042, groups: [64042], env: ['LC_ALL', 'MALLOC_ARENA_MAX', 'PATH'] },
    ['CapEff:\t0000000000000000', 'NoNewPrivs:\t1'],
    'the kernel',
    'EACCES',
  ]);
});

test('it speaks to the monitor first, and keeps the reason and the panic that QEMU tells of', async () => {
  await supervise(`const fs = require('node:fs');
    let asked = ''; const buffer = Buffer.alloc(4096);
    while (!asked.includes('cont')) asked += buffer.toString('utf8', 0, fs.readSync(6, buffer));
    fs.writeSync(3, asked);
    fs.writeSync(6, JSON.stringify({ QMP: { filler: 'x'.repeat(3000) } }) + '\\r\\n');
    fs.writeSync(6, '{"timestamp": {"seconds": 1}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}\\r\\n');
    fs.writeSync(6, '{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}\\r\\n');
    process.exit(0)`);
  expect(await exit()).toMatch(/^exited 0 \d+ guest-reset 1\n$/);
  expect(logged().map((line) => line.slice(line.indexOf('{')))).toEqual([
    '{"execute":"qmp_capabilities"}',
    '{"execute":"cont"}',
  ]);
});

test('who has said that it ends and then hangs is ended, and counts as ended by itself', async () => {
  await supervise(`require('node:fs').writeSync(6, '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\\n');
    setInterval(() => {}, 1e6)`);
  expect(await exit()).toMatch(/^exited 0 \d+ guest-shutdown 0\n$/);
});

test('console and own words of QEMU are told apart, unfinished last lines included', async () => {
  await supervise(`const fs = require('node:fs');
    fs.writeSync(3, 'first\\r\\nsecond'); fs.writeSync(2, 'qemu: no luck\\nnone'); process.exit(1)`);
  await exit();
  const lines = logged().map((line) => line.replace(/^\d+ /, ''));
  expect(lines.sort()).toEqual(['c first', 'c second', 'e none', 'e qemu: no luck']);
});

test('a guest that prints for ever is kept at a bounded rate, counted, and its last words are kept', async () => {
  await supervise(`const fs = require('node:fs'); const all = Buffer.from(('x'.repeat(99) + '\\n').repeat(1000));
    for (let i = 0; i < 200; i++) for (let at = 0; at < all.length; ) at += fs.writeSync(3, all, at);
    fs.writeSync(3, 'EXIT code=9\\n'); process.exit(19)`);
  await exit();
  expect(statSync(at('log')).size).toBeLessThan(4 << 20); // of 20 MB
  const lines = logged();
  expect(lines.at(-1)).toMatch(/^\d+ c EXIT code=9$/);
  expect(lines.join('\n')).toMatch(/skerry: \d+ lines were dropped, the console is too fast/);
});

test('a log that is full is rotated once: two files of 5 MiB at most', async () => {
  writeFileSync(at('log'), `1 c ${'x'.repeat(100)}\n`.repeat(45_000));
  await supervise(`const fs = require('node:fs'); const line = 'y'.repeat(999) + '\\n';
    for (let i = 0; i < 600; i++) fs.writeSync(3, line); process.exit(0)`);
  await exit();
  expect(statSync(at('log.1')).size).toBeGreaterThan(4 << 20);
  expect(statSync(at('log.1')).size).toBeLessThanOrEqual(5 << 20);
  expect(logged().every((line) => line.includes('yyy'))).toBe(true);
});

test('a reader of the console that does not read does not hold the guest up', async () => {
  await supervise(`const fs = require('node:fs');
    const wait = () => { try { return fs.readSync(3, Buffer.alloc(10)); } catch { return 0; } };
    wait(); const line = 'z'.repeat(999) + '\\n'; for (let i = 0; i < 5000; i++) fs.writeSync(3, line); process.exit(0)`);
  const lazy = connect(at('run/console'));
  lazy.on('error', () => undefined);
  lazy.pause();
  lazy.write('go');
  expect(await exit()).toMatch(/^exited 0 /);
  lazy.destroy();
});

test('a second supervisor for the same guest is refused while the first is there', async () => {
  await supervise('setInterval(() => {}, 1e6)');
  const pid = Number(read('run/pid'));
  await expect(supervise('process.exit(0)')).rejects.toMatchObject({
    message: expect.stringMatching(/lock/),
  });
  expect(isAlive(processRef(pid)!)).toBe(true);
});

test.each([
  ['a group that is missing', ['--cgroup', '/sys/fs/cgroup/nowhere/cgroup.procs'], /nowhere/],
  ['a kernel that is missing', ['--open', '/no/such/kernel'], /no\/such\/kernel/],
  ['a tap that is missing', ['--tap', 'skerry-no-tap'], /skerry-no-tap/],
])('%s is a failure that is told, and nothing goes on', async (_what, more, words) => {
  await expect(supervise('setInterval(() => {}, 1e6)', ...more)).rejects.toMatchObject({
    code: 'host_command_failed',
    message: expect.stringMatching(words),
  });
  await eventually('nothing goes on', () => processesWithArgument(folder).length === 0);
});

test('a program that is missing ends with the reason in the log', async () => {
  const folders = ['--folder', at('run'), '--log', folder, '--uid', '64042', '--gid', '64042'];
  await run(supervisorPath, [...folders, '--', '/no/such/qemu', folder], { signal, timeoutMs: 10_000 });
  expect(await exit()).toMatch(/^exited 72 /);
  expect(read('log')).toMatch(/ e \/no\/such\/qemu: No such file or directory/);
});

test('root is no user to start a guest as', async () => {
  const folders = ['--folder', at('run'), '--log', folder, '--uid', '0', '--gid', '0'];
  await expect(
    run(supervisorPath, [...folders, '--', '/bin/true'], { signal, timeoutMs: 10_000 }),
  ).rejects.toMatchObject({ details: { code: 2 } });
});
