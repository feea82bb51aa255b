// A real Linux as a virtual machine: what is told to it arrives, what is asked of it is done. One guest for all that can share it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processesWithArgument } from '@skerry/host';
import type { Bytes, Id, Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { vmOverheadBytes } from './memory.ts';
import { makeVmBed, type VmBed } from './testing/bed.ts';
import { lineOf, linesOf } from './testing/lines.ts';
import { linuxDisk } from './testing/linux-disk.ts';

const MiB = 1024 * 1024;
const signal = new AbortController().signal;
const disk = linuxDisk();
const linux = test.skipIf('missing' in disk);
let bed: VmBed;
let runtime: Runtime;
let spec: GuestSpec;

beforeAll(async () => {
  if ('missing' in disk) return console.warn(disk.missing);
  bed = makeVmBed();
  runtime = bed.open();
  await runtime.start(signal);
  const volumes = join(bed.identity.dataDir, 'volumes');
  mkdirSync(volumes);
  writeFileSync(join(volumes, 'own'), Buffer.concat([Buffer.from('I am own\n'), Buffer.alloc(MiB)]));
  writeFileSync(join(volumes, 'shared'), Buffer.concat([Buffer.from('I am shared\n'), Buffer.alloc(MiB)]));
  const image = bed.images.add(disk, 'disk', { format: 'raw', firmware: 'both' });
  spec = bed.spec(image, {
    name: 'lin',
    cpus: 2,
    memoryBytes: (256 * MiB) as Bytes,
    volumes: ['own', 'shared'].map((name) => ({
      ...{ name, mount: `/${name}`, hostPath: join(volumes, name), readOnly: name === 'shared' },
    })),
    vm: {
      ...{ secureBoot: false, tpm: true, cpuModel: 'portable' },
      cloudInit: { userData: '#cloud-config\npassword: "a: b"\n', sshKeys: ['ssh-ed25519 AAAA me'] },
    },
  });
  await runtime.apply({ do: 'create', spec }, signal);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  await lineOf(runtime, spec.uid, 'linux is up');
});
afterAll(async () => {
  if ('missing' in disk) return;
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
  expect(await bed.leftovers(spec.uid)).toEqual([]);
  await runtime.stop();
  await runtime.destroy(signal);
  expect(await bed.close()).toEqual([]);
});

const told = async (uid: Id<'instance'>, prefix: string) =>
  (await linesOf(runtime, uid))
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
const shell = async (script: string) => {
  const request = { command: ['/bin/sh', '-c', script], terminal: false };
  const session = await eventually('the agent answers', () => runtime.exec!.exec(spec.uid, request, signal));
  let text = '';
  for await (const { stream, data } of session.output) text += `${stream}: ${Buffer.from(data)}`;
  return { text, code: await session.exit };
};

linux('what cloud-init is told is there inside, on a disk of its label', async () => {
  expect((await told(spec.uid, 'seed user-data: ')).join('\n')).toBe('#cloud-config\npassword: "a: b"');
  expect(JSON.parse((await told(spec.uid, 'seed meta-data: ')).join('\n'))).toEqual({
    'instance-id': expect.stringContaining(spec.uid) as string,
    'local-hostname': 'lin',
    'public-keys': ['ssh-ed25519 AAAA me'],
  });
});

linux('volumes are disks by their names, those to read can not be written', async () => {
  const lines = await linesOf(runtime, spec.uid);
  expect(lines).toContain('volume own says I am own');
  expect(lines).toContain('volume shared says I am shared');
  expect(lines.find((line) => line.startsWith('disk shared'))).toMatch(/ro=1$/);
  const block = (name: string) =>
    readFileSync(spec.volumes.find((volume) => volume.name === name)!.hostPath).subarray(512, 1024);
  await eventually('what was written inside is outside', () =>
    block('own').toString().startsWith('written inside'),
  );
  expect(block('shared').every((byte) => byte === 0)).toBe(true);
});

linux('it has the processors, the memory, the firmware and the TPM that were asked for', async () => {
  const lines = await linesOf(runtime, spec.uid);
  expect(lines.find((line) => line.startsWith('linux is up'))).toMatch(/with 2 cpus, 2\d{5} kB/);
  expect(lines).toContain('firmware bios');
  expect(lines).toContain('tpm 2');
});

linux('a command inside gives its output and its code', async () => {
  expect(await shell('echo out; echo err >&2; exit 3')).toEqual({
    code: 3,
    text: expect.stringMatching(/stdout: out\n.*stderr: err\n/s) as string,
  });
});

/** What is the programs' own: neither the guest's memory nor pages of program files, which all guests share. */
function ownBytes(pid: number): number {
  const maps = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const own = maps.filter((one) => !one.includes('memfd:'));
  return own.reduce((sum, one) => sum + Number(/^Anonymous:\s+(\d+) kB/m.exec(one)?.[1] ?? 0) * 1024, 0);
}

linux('the hypervisor costs less than 50 MiB over the guest memory, and less than it claims', async () => {
  const programs = processesWithArgument(`guest=${spec.uid}`);
  const bytes = programs.reduce((sum, { pid }) => sum + ownBytes(pid), 0);
  expect(bytes).toBeGreaterThan(10 * MiB);
  expect(bytes).toBeLessThan(vmOverheadBytes(256 * MiB));
  expect(vmOverheadBytes(256 * MiB)).toBeLessThan(50 * MiB);
});

linux('memory that is taken by the balloon goes back to the host, and comes again', async () => {
  await shell('dd if=/dev/zero of=/tmp/f bs=1M count=100 2>/dev/null; rm /tmp/f');
  const free = async () => Number(/(\d+) kB/.exec((await shell('grep MemFree /proc/meminfo')).text)![1]);
  const before = await free();
  await runtime.resize!.setMemory(spec.uid, (128 * MiB) as Bytes, signal);
  await eventually('the guest has less', async () => (await free()) < before - 80_000);
  await runtime.resize!.setMemory(spec.uid, (256 * MiB) as Bytes, signal);
  await eventually('the guest has it again', async () => (await free()) > before - 40_000);
});

linux('a disk that grew is seen inside at once', async () => {
  await runtime.resize!.growDisk(spec.uid, (64 * MiB) as Bytes, signal);
  const sectors = async () => (await shell('cat /sys/block/vda/size')).text;
  await eventually('the guest sees it', async () => (await sectors()).includes(String((64 * MiB) / 512)));
});

linux('one that writes to a volume keeps no snapshot with its memory, and says why', async () => {
  await expect(runtime.snapshot!.take(spec.uid, 'x', signal)).rejects.toMatchObject({ code: 'unsupported' });
});

linux('it ends by its power button when it is asked to stop', async () => {
  const stop = { do: 'stop', uid: spec.uid, graceMs: 20_000 as Millis } as const;
  expect(await runtime.apply(stop, signal)).toMatchObject({ exit: { reason: 'stopped' } });
  const last = (await linesOf(runtime, spec.uid)).slice(-5).join('\n');
  expect(last).toContain('power button');
  expect(last).toContain('reboot: Power down');
});
