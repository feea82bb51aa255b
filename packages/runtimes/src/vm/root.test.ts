// A machine keeps its disk when its settings change, and gets a new one when its image does.
import type { Bytes, Millis } from '@skerry/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, GuestState, Runtime } from '../port.ts';
import { seedFiles } from './cloud-init.ts';
import { vmFolder } from './record.ts';
import { makeVmBed, type VmBed } from './testing/bed.ts';
import { bootDisk } from './testing/boot-sector.ts';
import { exitOf, linesOf } from './testing/lines.ts';

const MiB = 1024 * 1024;
const signal = new AbortController().signal;
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
  const steps = runtime.plan(want, state, uid, 0 as Millis);
  for (const step of steps) state = await runtime.apply(step, signal);
  return { state, steps: steps.map((step) => step.do) };
};
/** The sector counts its starts on the disk, and prints a letter for each. */
const letters = async ({ uid }: GuestSpec) =>
  (await linesOf(runtime, uid)).filter((line) => line.length === 1).join('');

test('another incarnation with the same root goes on with the disk; another root begins anew', async () => {
  const digest = bed.images.add(bootDisk('it has started', 'starts', MiB), 'disk');
  const spec = { ...bed.spec(digest), root: 'one' };
  await converge(spec, spec);
  await exitOf(runtime, spec.uid);
  const more = {
    ...spec,
    incarnation: 'more',
    memoryBytes: (spec.memoryBytes * 2) as Bytes,
    diskBytes: 4 * MiB,
  };
  expect((await converge(more as GuestSpec, spec)).steps).toEqual(['create', 'start']);
  await exitOf(runtime, spec.uid);
  expect(await letters(spec)).toBe('AB');
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ incarnation: 'more', root: 'one' });
  const fresh = { ...spec, incarnation: 'fresh', root: 'two' };
  expect((await converge(fresh, spec)).steps).toEqual(['remove', 'create', 'start']);
  await exitOf(runtime, spec.uid);
  expect(await letters(spec)).toBe('A');
  await converge(undefined, spec);
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('settings that can not be are refused, and the machine stays as it was', async () => {
  const digest = bed.images.add(bootDisk('it has started', 'starts', MiB), 'disk');
  const spec = { ...bed.spec(digest), root: 'one' };
  await converge(spec, spec);
  await exitOf(runtime, spec.uid);
  const before = vmFolder(bed.identity, spec.uid).read();
  const ended = await runtime.recover(spec.uid, signal);
  const vm = { secureBoot: false, tpm: false, cpuModel: 'portable', cdromDigest: `sha256:${'0'.repeat(64)}` };
  const wrong = { ...spec, incarnation: 'wrong', vm } as GuestSpec;
  const create = runtime.apply({ do: 'create', spec: wrong }, signal);
  await expect(create).rejects.toMatchObject({ code: 'image_not_found' });
  expect(vmFolder(bed.identity, spec.uid).read()?.spec).toEqual(before?.spec);
  expect(await runtime.recover(spec.uid, signal)).toEqual(ended); // why it ended is not forgotten over it
  const { state } = await converge(spec, spec);
  expect(state.state).not.toBe('absent' satisfies GuestState['state']);
  await exitOf(runtime, spec.uid);
  expect(await letters(spec)).toBe('AB');
  await converge(undefined, spec);
});

test('cloud-init takes it for the same machine as long as it has its disk', () => {
  const network = {
    address: '10.0.0.2',
    prefixLength: 24,
    gateway: '10.0.0.1',
    dns: '10.0.0.1',
    mac: '02:00:00:00:00:01',
    mtu: 1500,
  };
  const at = (incarnation: string, root: string) => {
    const spec = bed.spec(bed.images.add(bootDisk('x', 'starts', MiB), 'disk'), { incarnation });
    const whole = {
      ...spec,
      uid: 'same',
      root,
      network: { ...network, uid: 'same', kind: 'tap', device: 't' },
    };
    return JSON.parse(seedFiles(whole as unknown as GuestSpec)!['meta-data'])['instance-id'] as string;
  };
  const v6 = { address: 'fd00::2', prefixLength: 64, gateway: 'fd00::1', gatewayMac: '02:00:00:00:00:02' };
  const spec = bed.spec(bed.images.add(bootDisk('x', 'starts', MiB), 'disk'));
  const both = { ...spec, network: { ...network, uid: 'same', kind: 'tap', device: 't', v6 } };
  const config = JSON.parse(seedFiles(both as unknown as GuestSpec)!['network-config']!);
  expect(config.ethernets.net0).toMatchObject({
    addresses: ['10.0.0.2/24', 'fd00::2/64'],
    routes: [
      { to: '0.0.0.0/0', via: '10.0.0.1' },
      { to: '::/0', via: 'fd00::1' },
    ],
  });
  expect(at('one', 'a')).toBe(at('two', 'a'));
  expect(at('one', 'a')).not.toBe(at('one', 'b'));
});
