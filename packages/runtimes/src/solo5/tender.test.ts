// Solo5's tenders can't be installed from Debian: a program that stands for one tells what it was given. All else is real.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUEST_UID } from '@skerry/host';
import type { Bytes, Millis } from '@skerry/model';
import { elfFile, eventually, type Solo5DeviceSpec, solo5Notes } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { createQemuRuntime } from '../qemu/runtime.ts';
import { kernelPath, makeQemuBed, type QemuBed, supervisorPath } from '../qemu/testing/bed.ts';

const signal = AbortSignal.timeout(120_000);
const programs = mkdtempSync(join(tmpdir(), 'skerry-tender-'));
let bed: QemuBed;
let runtime: Runtime;

beforeAll(async () => {
  bed = await makeQemuBed();
  const source = fileURLToPath(new URL('testing/fake-tender.c', import.meta.url));
  execFileSync('cc', ['-Wall', '-Wextra', '-Werror', '-static', '-o', join(programs, 'solo5-spt'), source]);
  chmodSync(programs, 0o755);
  runtime = open();
  await runtime.start(signal);
}, 60_000);
afterAll(async () => {
  await runtime?.destroy(signal);
  await runtime?.stop();
  expect(await bed?.close()).toEqual([]);
  rmSync(programs, { recursive: true, force: true });
});

const open = (programFolders: readonly string[] = [programs]) => {
  const { identity, images } = bed;
  const logger = { warn: () => undefined };
  return createQemuRuntime({ identity, images, kernelPath, supervisorPath, programFolders, logger });
};
const guest = (
  devices: readonly Solo5DeviceSpec[],
  changes: Partial<GuestSpec>,
  target: 'spt' | 'hvt' = 'spt',
) =>
  bed.fileSpec(elfFile({ notes: solo5Notes(target, devices), interpreter: '/nonexistent/solo5/' }), changes);
const SERVICE: Solo5DeviceSpec = { name: 'service', type: 'net' };

async function linesOf({ uid }: GuestSpec): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of runtime.logs(uid, { follow: false }, signal)) lines.push(line.text);
  return lines;
}
async function boot(spec: GuestSpec) {
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
}
const exitOf = ({ uid }: GuestSpec) =>
  eventually('it ends', async () => {
    const state = await runtime.recover(uid, signal);
    return state.state === 'exited' ? state.exit : undefined;
  });
async function remove({ uid }: GuestSpec): Promise<void> {
  await runtime.apply({ do: 'remove', uid }, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
}

test('every device of the manifest is attached by its name, and the status is the guest', async () => {
  const devices: Solo5DeviceSpec[] = [{ name: 'storage', type: 'block' }, SERVICE];
  const spec = await guest(devices, { args: ['--ttl=3', 'exit=3'], diskBytes: (65536 * 16) as Bytes });
  await boot(spec);
  expect(await exitOf(spec)).toMatchObject({ reason: 'error', code: 3 });
  const { address, prefixLength, gateway, mac } = spec.network!;
  const lines = await linesOf(spec);
  expect(lines).toEqual(
    expect.arrayContaining([
      'given: --mem=8',
      'given: --net:service=@4',
      `given: --net-mac:service=${mac}`,
      `given: --ipv4=${address}/${prefixLength} --ipv4-gateway=${gateway} --ttl=3 exit=3`,
      'net: plain frames',
      'block: 1048576 bytes, start 1, written',
      'image: ELF',
      `user: ${GUEST_UID}`,
    ]),
  );
  await remove(spec);
});

test('its block device keeps what is on it: over restarts, other settings and other images, until it is deleted', async () => {
  const devices: Solo5DeviceSpec[] = [{ name: 'storage', type: 'block' }];
  const converge = async (want: GuestSpec | undefined, { uid }: GuestSpec) => {
    let state = await runtime.recover(uid, signal);
    const steps = runtime.plan(want, state, uid, 0 as Millis);
    for (const step of steps) state = await runtime.apply(step, signal);
    return steps.map((step) => step.do);
  };
  const blockLines = async (spec: GuestSpec) => {
    await exitOf(spec);
    return (await linesOf(spec)).filter((line) => line.startsWith('block: '));
  };
  const sized = (diskBytes: number) => ({ root: 'blocks/0', diskBytes: diskBytes as Bytes });
  const first = await guest(devices, { ports: [], args: ['exit=3'], ...sized(65536) });
  await converge(first, first);
  expect(await blockLines(first)).toEqual(['block: 65536 bytes, start 1, written']);

  // it crashed, and is started again; what it wrote is of this run alone
  expect(await converge(first, first)).toEqual(['create', 'start']);
  expect(await blockLines(first)).toEqual(['block: 65536 bytes, start 2, written']);

  // a new version of it, with more room, after a runtime that ended between the steps
  const { imageDigest } = await guest([...devices, SERVICE], {});
  const next = { ...first, incarnation: 'two', imageDigest, ...sized(131072) };
  await runtime.apply({ do: 'create', spec: next }, signal);
  await runtime.stop();
  runtime = open();
  await runtime.start(signal);
  expect(await runtime.recover(first.uid, signal)).toEqual({
    ...{ state: 'created', incarnation: 'two', root: 'blocks/0' },
  });
  expect(await converge(next, first)).toEqual(['start']);
  expect(await blockLines(first)).toEqual(['block: 131072 bytes, start 3, written']);

  // it never shrinks, and a refusal leaves it as it was
  const ended = await runtime.recover(first.uid, signal);
  await expect(converge({ ...next, incarnation: 'three', ...sized(65536) }, first)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('128KiB'),
  });
  expect(await runtime.recover(first.uid, signal)).toEqual(ended);
  await converge(next, first);
  expect(await blockLines(first)).toEqual(['block: 131072 bytes, start 4, written']);

  await converge(undefined, first);
  expect(await bed.leftovers(first.uid)).toEqual([]);
});

test('it outlives the agent, has a console, and ends when asked to', async () => {
  const spec = await guest([SERVICE], {});
  const state = await boot(spec);
  expect(state).toMatchObject({ state: 'running' });
  await runtime.stop();
  runtime = open();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({
    state: 'running',
    pid: (state as { pid: number }).pid,
  });
  const console = await runtime.console!.open(spec.uid, AbortSignal.timeout(10_000));
  await console.write(Buffer.from('hello tender\n'));
  await eventually('it answers', async () => (await linesOf(spec)).includes('hello tender'));
  const stopped = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 5000 as Millis }, signal);
  expect(stopped).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  await remove(spec);
});

test('one that ends well has completed; one that is ended by a signal says so', async () => {
  const well = await guest([SERVICE], { args: ['exit=0'] });
  await boot(well);
  expect(await exitOf(well)).toMatchObject({ reason: 'completed', code: 0 });
  await remove(well);
  const badly = await guest([SERVICE], { args: ['abort'] });
  await boot(badly);
  expect(await exitOf(badly)).toMatchObject({ reason: 'signal', signal: 'SIGABRT' });
  await remove(badly);
});

test('without its tender, or without KVM, it says what is missing', async () => {
  const none = open([]);
  const spt = await guest([SERVICE], {});
  await expect(none.apply({ do: 'create', spec: spt }, signal)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('solo5-spt, which is not installed'),
  });
  const hvt = await guest([SERVICE], {}, 'hvt');
  await expect(none.apply({ do: 'create', spec: hvt }, signal)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringMatching(/solo5-hvt, which is not installed|needs KVM/),
  });
  await none.stop();
  for (const spec of [spt, hvt]) expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('what can not be started on a node is told before somebody tries', async () => {
  const none = open([]);
  const text = async (one: Runtime) =>
    (await one.probe(signal)).find(({ name }) => name === 'unikernel.solo5')?.text;
  expect(await text(none)).toMatch(
    /for virtio; not those for spt \(solo5-spt is not installed\), nor those for hvt/,
  );
  expect(await text(runtime)).not.toContain('solo5-spt');
  await none.stop();
});
