// A machine whose kernel is loaded in place of what its disk would start: told by what the kernel itself says.
import { readFileSync, statSync } from 'node:fs';
import type { Bytes, Millis } from '@skerry/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime, VmGuest } from '../port.ts';
import { findLinuxKernel, initramfs } from '../qemu/testing/initramfs.ts';
import { vmGroupLimits } from './memory.ts';
import { vmFolder } from './record.ts';
import { makeVmBed, type VmBed } from './testing/bed.ts';
import { bootDisk } from './testing/boot-sector.ts';
import { exitOf, linesOf } from './testing/lines.ts';

const MiB = 1024 * 1024;
const LIMIT_MS = 240_000;
const signal = new AbortController().signal;
const kernel = findLinuxKernel();
if (kernel === undefined)
  console.warn('no Linux kernel is here: machines that boot one directly are not tried');
let bed: VmBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = makeVmBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  expect(await bed.close()).toEqual([]);
});

const converge = async (want: GuestSpec | undefined, { uid }: GuestSpec) => {
  let state = await runtime.recover(uid, signal);
  for (const step of runtime.plan(want, state, uid, 0 as Millis)) state = await runtime.apply(step, signal);
};
const toldOf = async ({ uid }: GuestSpec) =>
  (await linesOf(runtime, uid)).flatMap((line) => /told=(\w+)/.exec(line)?.[1] ?? []);
const vmOf = (boot: VmGuest['boot']): VmGuest => ({
  ...{ secureBoot: false, tpm: false, cpuModel: 'portable' },
  ...(boot && { boot }),
});
const disk = () =>
  bed.images.add(bootDisk('the sector has started', 'starts', MiB), 'disk', { firmware: 'uefi' });
const initrd = () =>
  bed.images.add(
    initramfs(
      '/bin/busybox mount -t proc proc /proc; /bin/busybox cat /proc/cmdline; /bin/busybox poweroff -f',
    ),
    'initramfs',
  );
const linux = (arch = 'amd64') =>
  bed.images.add(readFileSync(kernel!), 'unikernel', { family: 'linux', runnable: true }, arch);

test.skipIf(kernel === undefined)(
  'its kernel starts with its words, again after an end, with other words, and the disk has its turn when they go',
  async () => {
    const boot = { kernelDigest: linux(), initrdDigest: initrd() };
    const words = (told: string) => vmOf({ ...boot, arguments: `console=ttyS0 quiet panic=-1 told=${told}` });
    const spec = {
      ...bed.spec(disk(), { memoryBytes: (128 * MiB) as Bytes, vm: words('one') }),
      root: 'one',
    };
    await converge(spec, spec);
    expect(await exitOf(runtime, spec.uid)).toMatchObject({ reason: 'completed' });
    // what QEMU holds of them is room that its control group gives
    const heldBytes = Object.values(boot).reduce(
      (sum, one) => sum + statSync(bed.images.blobPath(one)).size,
      0,
    );
    const record = vmFolder(bed.identity, spec.uid).read()!;
    expect(record.heldBytes).toBe(heldBytes);
    expect(vmGroupLimits(record).memoryBytes).toBe(
      vmGroupLimits({ spec, arch: 'amd64' }).memoryBytes! + heldBytes,
    );
    expect(await toldOf(spec)).toEqual(['one']);
    await converge(spec, spec);
    await exitOf(runtime, spec.uid);
    expect(await toldOf(spec)).toEqual(['one', 'one']);
    const other = { ...spec, incarnation: 'other', vm: words('two') };
    await converge(other, spec);
    await exitOf(runtime, spec.uid);
    expect(await toldOf(spec)).toEqual(['one', 'one', 'two']);
    const without = {
      ...spec,
      incarnation: 'without',
      vm: { ...vmOf(undefined), firmware: 'bios' as const },
    };
    await converge(without, spec);
    await exitOf(runtime, spec.uid);
    expect((await linesOf(runtime, spec.uid)).filter((line) => line.length === 1)).toEqual(['A']);
    await converge(undefined, spec);
    expect(await bed.leftovers(spec.uid)).toEqual([]);
  },
  LIMIT_MS,
);

test('what is no kernel of Linux, no initramfs, or for another processor is refused before anything is made', async () => {
  const code = async (boot: VmGuest['boot']) => {
    const spec = bed.spec(disk(), { vm: vmOf(boot) });
    const made = runtime.apply({ do: 'create', spec }, signal);
    const found = await made.then(
      () => 'made',
      (error: { code: string }) => error.code,
    );
    expect(await bed.leftovers(spec.uid)).toEqual([]);
    return found;
  };
  const words = { arguments: '' };
  const kernelOf = (facts: object, arch = 'amd64') =>
    bed.images.add(Buffer.from(JSON.stringify([facts, arch])), 'unikernel', facts, arch);
  const good = kernelOf({ family: 'linux' });
  expect(await code({ kernelDigest: disk(), ...words })).toBe('image_wrong_kind');
  expect(await code({ kernelDigest: kernelOf({ family: 'solo5' }), ...words })).toBe('image_wrong_kind');
  expect(await code({ kernelDigest: kernelOf({ family: 'linux' }, 'arm64'), ...words })).toBe('unsupported');
  expect(await code({ kernelDigest: good, initrdDigest: disk(), ...words })).toBe('image_wrong_kind');
  expect(await code({ kernelDigest: good, initrdDigest: `sha256:${'0'.repeat(64)}`, ...words })).toBe(
    'image_not_found',
  );
});
