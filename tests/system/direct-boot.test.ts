// A machine by its own kernel, through every room, by the commands that a user types: no firmware and no loader before it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, ROOT, startProgram, skerry as typed } from '../support/program.ts';

let skerry: Program;
const EXAMPLE = readFileSync(join(ROOT, 'examples/direct-boot.yaml'), 'utf8');
const apply = (text: string) =>
  typed(['apply', '-f', '-', '--wait'], { env: { SKERRY_DATA: skerry.dataDir }, input: text });
const instance = async (workload = 'pier') =>
  (await skerry.json<Instance[]>('workload', 'instances')).find(({ spec }) => spec.workload === workload)!;
const get = async (path: string, workload?: string) =>
  (await fetch(`http://${(await instance(workload)).spec.network!.address}:8080${path}`)).text();
const healthy = () => get('/healthz');

beforeAll(async () => {
  skerry = await startProgram();
  for (const [guest, name] of [
    ['vm-linux', 'harbour'],
    ['vm-arm64', 'island'],
  ] as const)
    for (const [file, part] of [
      ['disk.qcow2', ''],
      ['vmlinuz', '-kernel'],
      ['initrd', '-initrd'],
    ] as const) {
      const path = join(ROOT, 'guests', guest, 'build', file);
      await skerry.run('image', 'import', path, '--name', `${name}${part}:1`);
    }
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});

test('images tell what they are, and none that is needed can be taken away', async () => {
  expect(await skerry.run('image', 'show', 'harbour-kernel:1')).toMatch(/family: linux/);
  expect(await skerry.run('image', 'show', 'harbour-initrd:1')).toMatch(/kind: initramfs/);
  expect(await apply(EXAMPLE)).toMatchObject({ code: 0 });
  expect(await healthy()).toMatch(/ok/);
  const removed = await skerry.try('image', 'delete', 'harbour-initrd:1');
  expect(removed).toMatchObject({ code: 1, stderr: expect.stringMatching(/used by pier/) as string });
});

test('what the kernel was told is what the manifest says, and no loader added to it; also after a restart', async () => {
  const told = () => skerry.try('workload', 'exec', 'pier', '--', '/bin/cat', '/proc/cmdline');
  const words = /arguments: (.*)/.exec(EXAMPLE)![1]!;
  await eventually('the agent answers', async () => (await told()).stdout === `${words}\n`);
  const { pid } = (await instance()).status;
  await skerry.run('workload', 'restart', 'pier', '--wait');
  expect(await healthy()).toMatch(/ok/);
  expect((await instance()).status.pid).not.toBe(pid);
  await eventually('the agent answers', async () => (await told()).stdout === `${words}\n`);
});

test('what goes together with no kernel of its own is refused with its line', async () => {
  const wrong = await apply(EXAMPLE.replace('    boot:', '    secureBoot: true\n    boot:'));
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(/:18: .*spec\.vm\.boot/);
  const disk = await apply(EXAMPLE.replace('kernel: harbour-kernel:1', 'kernel: harbour:1'));
  expect(disk.code).toBe(1);
  expect(disk.stderr).toMatch(/line 18.*spec\.vm\.boot\.kernel.*disk image/s);
});

test('a kernel of another processor is started without its UEFI, and refused beside a disk that is not of it', async () => {
  const island = EXAMPLE.replaceAll('harbour', 'island').replace('name: pier', 'name: island');
  expect(await apply(island.replace('ttyS0', 'ttyAMA0').replace('128MiB', '192MiB'))).toMatchObject({
    code: 0,
  });
  expect(await get('/', 'island')).toMatch(/on aarch64/);
  const mixed = await apply(EXAMPLE.replaceAll('harbour-', 'island-'));
  expect(mixed.code).toBe(1);
  expect(mixed.stderr).toMatch(/line 18.*spec\.vm\.boot\.kernel.*arm64.*amd64/s);
});
