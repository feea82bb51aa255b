// Virtual machines that start by UEFI: of two architectures, and with signed loaders alone.
import { existsSync } from 'node:fs';
import type { Bytes } from '@skerry/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { makeVmBed, type VmBed } from './testing/bed.ts';
import { exitOf, lineOf, linesOf } from './testing/lines.ts';
import { uefiDisk } from './testing/uefi-disk.ts';

const MiB = 1024 * 1024;
const signal = new AbortController().signal;
const vm = { secureBoot: false, tpm: false, cpuModel: 'portable' } as const;
/** Without the package `qemu-system-arm` or `qemu-efi-aarch64` there is no such machine. */
const arm = test.skipIf(
  !existsSync('/usr/bin/qemu-system-aarch64') || !existsSync('/usr/share/AAVMF/AAVMF_CODE.fd'),
);
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

const boot = async (digest: string, changes: Partial<GuestSpec>) => {
  const spec = bed.spec(digest, { memoryBytes: (128 * MiB) as Bytes, ...changes });
  await runtime.apply({ do: 'create', spec }, signal);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  return spec;
};
const remove = async ({ uid }: GuestSpec) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
};

test('a disk that was made for UEFI starts by it', async () => {
  const digest = bed.images.add(uefiDisk('amd64', 'hello by UEFI'), 'disk', { firmware: 'uefi' });
  const spec = await boot(digest, {});
  expect(await exitOf(runtime, spec.uid)).toMatchObject({ reason: 'completed' });
  expect((await linesOf(runtime, spec.uid)).join('\n')).toContain('hello by UEFI');
  await remove(spec);
});

test('secure boot starts no loader that nobody signed, and says so on the console', async () => {
  const digest = bed.images.add(uefiDisk('amd64', 'nobody signed me'), 'disk', { firmware: 'uefi' });
  const spec = await boot(digest, { vm: { ...vm, secureBoot: true } });
  const lines = await lineOf(runtime, spec.uid, /Access Denied|Security Violation/);
  expect(lines.join('\n')).not.toContain('nobody signed me');
  await remove(spec);
});

test('secure boot with a BIOS is refused', async () => {
  const digest = bed.images.add(uefiDisk('amd64', 'x'), 'disk');
  const spec = bed.spec(digest, { vm: { ...vm, secureBoot: true, firmware: 'bios' } });
  await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({ code: 'unsupported' });
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

arm('an arm64 disk starts on a machine of its own architecture', async () => {
  const digest = bed.images.add(uefiDisk('arm64', 'hello from arm64'), 'disk', {}, 'arm64');
  const spec = await boot(digest, {});
  expect(await exitOf(runtime, spec.uid)).toMatchObject({ reason: 'completed' });
  expect((await linesOf(runtime, spec.uid)).join('\n')).toContain('hello from arm64');
  await remove(spec);
});
