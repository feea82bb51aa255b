// Virtual machines that start by UEFI: of two architectures, and with signed loaders alone.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '@skerry/host';
import type { Bytes } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { tpmOf, variablesOf, vmFolder } from './record.ts';
import { writeMark } from './snapshot-mark.ts';
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

const machineOfAll = { secureBoot: false, tpm: true, cpuModel: 'portable', firmware: 'uefi' } as const;
const digestOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

test('a snapshot of one that does not run keeps its UEFI variables and its TPM, and puts them back', async () => {
  const digest = bed.images.add(uefiDisk('amd64', 'x'), 'disk', { firmware: 'uefi' });
  const spec = bed.spec(digest, { vm: machineOfAll });
  await runtime.apply({ do: 'create', spec }, signal);
  const folder = vmFolder(bed.identity, spec.uid);
  const state = join(tpmOf(folder), 'tpm2-00.permall');
  const contents = async () => {
    const raw = join(folder.data, 'variables.raw');
    await run('/usr/bin/qemu-img', ['convert', '-O', 'raw', variablesOf(folder), raw], {
      signal,
      timeoutMs: 10_000,
    });
    return [digestOf(raw), readFileSync(state, 'utf8')];
  };
  writeFileSync(state, 'of before');
  const before = await contents();
  expect(await runtime.snapshot!.take(spec.uid, 'kept', signal)).toMatchObject({ withMemory: false });
  writeFileSync(state, 'of after');
  await run('/usr/bin/qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x5a 0 64k', variablesOf(folder)], {
    signal,
    timeoutMs: 10_000,
  });
  expect(await contents()).not.toEqual(before);
  await runtime.snapshot!.restore(spec.uid, 'kept', signal);
  expect(await contents()).toEqual(before);
  await runtime.snapshot!.remove(spec.uid, 'kept', signal);
  expect(await runtime.snapshot!.list(spec.uid, signal)).toEqual([]);
  expect(existsSync(join(folder.data, 'snapshots', 'kept'))).toBe(false);
  await remove(spec);
});

test('a snapshot of one that runs by UEFI with a TPM brings it back; an agent that died on the way leaves none by half', async () => {
  const digest = bed.images.add(Buffer.alloc(MiB), 'disk', { firmware: 'uefi' });
  const spec = await boot(digest, { vm: machineOfAll });
  const folder = vmFolder(bed.identity, spec.uid);
  const stored = async (path: string) => {
    const { stdout } = await run('/usr/bin/qemu-img', ['info', '-U', '--output=json', path], {
      signal,
      timeoutMs: 10_000,
    });
    return ((JSON.parse(stdout) as { snapshots?: { name: string }[] }).snapshots ?? []).map(
      ({ name }) => name,
    );
  };
  expect(await runtime.snapshot!.take(spec.uid, 'alive', signal)).toMatchObject({
    withMemory: true,
    frozen: false,
  });
  expect(await stored(variablesOf(folder))).toEqual(['alive']);
  await runtime.snapshot!.restore(spec.uid, 'alive', signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running' });
  // As one is left that was begun: the mark is there, its facts are not, and the guest holds still.
  const { startedAtMs } = folder.read()!;
  rmSync(join(folder.data, 'snapshots', 'alive'), { recursive: true });
  await runtime.pause!.pause(spec.uid, signal);
  writeMark(folder, { doing: 'take', name: 'alive', resume: startedAtMs! });
  await runtime.stop();
  runtime = bed.open();
  await runtime.start(signal);
  await runtime.recover(spec.uid, signal);
  await eventually('it goes on, and nothing of the snapshot is left', async () => {
    const state = await runtime.recover(spec.uid, signal);
    return state.state === 'running' && !state.paused && (await stored(variablesOf(folder))).length === 0;
  });
  expect(await runtime.snapshot!.list(spec.uid, signal)).toEqual([]);
  await remove(spec);
});

arm('an arm64 disk starts on a machine of its own architecture', async () => {
  const digest = bed.images.add(uefiDisk('arm64', 'hello from arm64'), 'disk', {}, 'arm64');
  const spec = await boot(digest, {});
  expect(await exitOf(runtime, spec.uid)).toMatchObject({ reason: 'completed' });
  expect((await linesOf(runtime, spec.uid)).join('\n')).toContain('hello from arm64');
  await remove(spec);
});
