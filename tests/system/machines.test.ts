// All four kinds of guest through every room, by the commands that a user types: three kernels on one node. Machines keep their
// disks and systems their files, all outlive the program, and go without a trace.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, ROOT, startProgram, skerry as typed } from '../support/program.ts';

let skerry: Program;
const example = (name: string) => join(ROOT, 'examples', name);
const instances = () => skerry.json<Instance[]>('workload', 'instances');
const instanceOf = async (workload: string) =>
  (await instances()).find(({ spec }) => spec.workload === workload)!;
const get = async (workload: string, path = '/') => {
  const { spec } = await instanceOf(workload);
  return (await fetch(`http://${spec.network!.address}:8080${path}`)).text();
};
const apply = (text: string) =>
  typed(['apply', '-f', '-', '--wait'], { env: { SKERRY_DATA: skerry.dataDir }, input: text });

/** One command of the agent in a guest, as the program itself would give it. */
function askAgent(path: string, command: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () =>
      socket.write(`\xff${JSON.stringify({ execute: command })}\n`, 'latin1'),
    );
    let text = '';
    socket.on('error', reject);
    socket.on('data', (data) => {
      text += data.toString('latin1');
      const line = text.split('\n').find((one) => one.includes('"return"'));
      if (line === undefined) return;
      socket.destroy();
      resolve((JSON.parse(line.replace(/^\xff/, '')) as { return: unknown }).return);
    });
  });
}

beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('image', 'import', join(ROOT, 'guests/vm-linux/build/disk.qcow2'), '--name', 'harbour:1');
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
  await skerry.run(
    'image',
    'import',
    join(ROOT, 'guests/system-busybox/build/rootfs.tar'),
    '--name',
    'lighthouse:1',
  );
  await skerry.run('apply', '-f', example('four-kinds.yaml'), '--wait');
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});

test('three kernels are side by side, and each answers', async () => {
  expect(await get('harbour')).toMatch(/Linux \d+\.\d+\.\d+-\d+-cloud-amd64 on x86_64/);
  expect(await get('harbour')).not.toContain(release());
  expect(await get('hello', '/cgi-bin/whoami')).toBe('hello-0 says hello\n');
  expect(await skerry.run('workload', 'exec', 'hello', '--', '/bin/cat', '/proc/version')).toContain(
    release(),
  );
  expect(await get('lighthouse', '/cgi-bin/whoami')).toMatch(/^lighthouse-0: process 1 is init/);
  expect(await get('thermo', '/healthz')).toMatch(/ok/);
  expect(await skerry.run('workload', 'logs', 'thermo')).toMatch(/pebble/i);
});

test('an image tells what was recognised', async () => {
  const image = await skerry.run('image', 'show', 'harbour:1');
  expect(image).toMatch(/kind: disk/);
  expect(image).toMatch(/format: qcow2/);
  expect(image).toMatch(/arch: amd64/);
});

test('it holds still and goes on, and its health is not asked meanwhile', async () => {
  await skerry.run('workload', 'pause', 'harbour');
  await eventually('it is told', async () => (await instanceOf('harbour')).status.reason?.includes('paused'));
  await skerry.run('workload', 'resume', 'harbour');
  await eventually('it goes on', async () => (await instanceOf('harbour')).status.reason === undefined);
  expect((await instanceOf('harbour')).status.restartCount).toBe(0);
  expect(await get('harbour', '/healthz')).toMatch(/ok/);
});

const inside = async (script: string) =>
  skerry.try('workload', 'exec', 'harbour', '--', '/bin/sh', '-c', script);

test('the agent inside tells the addresses that the guest gave itself', async () => {
  const { address } = (await instanceOf('harbour')).spec.network!;
  await eventually('it tells', async () =>
    (await instanceOf('harbour')).status.guestAddresses?.includes(address),
  );
});

test('a snapshot brings it back, memory and all, in an instant; its file systems hold still meanwhile', async () => {
  await eventually(
    'the agent answers',
    async () => (await inside('echo before > /root/word; sync')).code === 0,
  );
  await skerry.run('workload', 'snapshot', 'harbour', 'running');
  expect(await skerry.run('workload', 'snapshots', 'harbour')).toMatch(/running .*with .*held still/);
  expect(await inside('echo after > /root/word; sync; cat /root/word')).toMatchObject({ stdout: 'after\n' });
  await skerry.run('workload', 'restore', 'harbour', 'running');
  await eventually('it answers', () => get('harbour', '/healthz').catch(() => false));
  await eventually('it is as it was', async () => (await inside('cat /root/word')).stdout === 'before\n');
  expect(await inside('echo again > /root/word; sync')).toMatchObject({ code: 0 });
  await skerry.run('workload', 'forget', 'harbour', 'running');
  expect((await instanceOf('harbour')).status.restartCount).toBe(0);
});

test('a system keeps its files through a restart, and takes commands', async () => {
  await skerry.run('workload', 'exec', 'lighthouse', '--', '/bin/sh', '-c', 'echo kept > /root/word');
  await skerry.run('workload', 'restart', 'lighthouse', '--wait');
  expect(await skerry.run('workload', 'exec', 'lighthouse', '--', '/bin/cat', '/root/word')).toBe('kept\n');
  expect(await skerry.run('workload', 'logs', 'lighthouse')).toContain('busybox init is up');
});

test('kill -9 of the program touches none of them', async () => {
  const pids = async () =>
    (await instances()).map(({ metadata, status }) => `${metadata.name} ${status.pid}`).sort();
  const before = await pids();
  const { address } = (await instanceOf('harbour')).spec.network!;
  await skerry.kill();
  expect((await fetch(`http://${address}:8080/healthz`)).ok).toBe(true);
  await skerry.up();
  await skerry.run('apply', '-f', example('four-kinds.yaml'), '--wait');
  expect(await pids()).toEqual(before);
});

test('file systems that were held still when the program died go on when it is back', async () => {
  const { metadata } = await instanceOf('harbour');
  const folder = join('/run/skerry', skerry.id, 'v', metadata.uid);
  await skerry.kill();
  writeFileSync(join(folder, 'frozen'), '');
  expect(await askAgent(join(folder, 'agent'), 'guest-fsfreeze-freeze')).toBeGreaterThan(0);
  await skerry.up();
  await eventually('they go on', async () => !existsSync(join(folder, 'frozen')));
  expect(await inside('echo written > /root/word; sync; cat /root/word')).toMatchObject({
    stdout: 'written\n',
  });
});

test('more memory and a larger disk are given to the same machine', async () => {
  const text = readFileSync(example('machine.yaml'), 'utf8').replace('128MiB', '160MiB, disk: 1GiB');
  const planned = await typed(['plan', '-f', '-'], { env: { SKERRY_DATA: skerry.dataDir }, input: text });
  expect(planned.stdout).toMatch(/replace instance harbour-0: resources changed/);
  expect(await apply(text)).toMatchObject({ code: 0 });
  const stats = await skerry.json<{ diskBytes?: number; memoryLimitBytes: number }[]>(
    'workload',
    'stats',
    'harbour',
  );
  expect(stats[0]!.memoryLimitBytes).toBeGreaterThan(160 * 1024 * 1024);
  expect(await get('harbour', '/healthz')).toMatch(/ok/);
});

test('a manifest that asks for what does not go together is refused with its line', async () => {
  const text = readFileSync(example('machine.yaml'), 'utf8').replace(
    '  image: harbour:1',
    '  image: harbour:1\n  vm: { firmware: bios, secureBoot: true }',
  );
  const ran = await apply(text);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(/:10: .*spec\.vm\.secureBoot/);
});
