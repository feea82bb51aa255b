// Guests that start from a disk, on real QEMU: the image is never written, and what lies on it is never believed.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bytes, type GuestExit, SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../../port.ts';
import { makeQemuBed, type QemuBed } from '../testing/bed.ts';
import { toldDisk } from '../testing/told-disk.ts';

const signal = AbortSignal.timeout(120_000);
let bed: QemuBed;
let runtime: Runtime;

beforeAll(async () => {
  bed = await makeQemuBed();
  runtime = bed.open();
  await runtime.start(signal);
}, 60_000);
afterAll(async () => {
  await runtime?.destroy(signal);
  await runtime?.stop();
  expect(await bed?.close()).toEqual([]);
});

async function diskSpec(
  bytes: Buffer,
  format: 'raw' | 'qcow2',
  changes: Partial<GuestSpec> = {},
): Promise<GuestSpec> {
  if (format === 'raw') return bed.fileSpec(bytes, changes);
  const [raw, qcow2] = ['raw', 'qcow2'].map((name) => join(bed.identity.dataDir, name)) as [string, string];
  writeFileSync(raw, bytes);
  execFileSync('/usr/bin/qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  return bed.fileSpec(readFileSync(qcow2), changes);
}

async function run(spec: GuestSpec): Promise<{ lines: string[]; exit: GuestExit }> {
  const before = readFileSync(bed.images.blobPath(spec.imageDigest));
  try {
    await runtime.apply({ do: 'create', spec }, signal);
    await runtime.apply({ do: 'start', uid: spec.uid }, signal);
    const exit = await eventually(
      'the guest ends',
      async () => {
        const state = await runtime.recover(spec.uid, signal);
        return state.state === 'exited' ? state.exit : undefined;
      },
      { withinMs: 20_000 },
    );
    const lines: string[] = [];
    for await (const line of runtime.logs(spec.uid, { follow: false }, signal)) lines.push(line.text);
    return { lines, exit };
  } finally {
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    expect(await bed.leftovers(spec.uid)).toEqual([]);
    expect(readFileSync(bed.images.blobPath(spec.imageDigest)).equals(before)).toBe(true);
  }
}

test.each(['raw', 'qcow2'] as const)(
  'Nanos on a %s disk starts by the BIOS; its code leaves as it is',
  async (format) => {
    const { lines, exit } = await run(await diskSpec(toldDisk('nanos', 'nanos here', { exit: 2 }), format));
    expect(lines).toContain('nanos here');
    expect(exit).toMatchObject({ reason: 'error', code: 2 });
  },
);

test("OSv's disk is told its address in front of the image's own words", async () => {
  const spec = await diskSpec(toldDisk('osv', '/app --image', 'power-off'), 'qcow2');
  const { lines, exit } = await run(spec);
  const { address, gateway } = spec.network!;
  const line = lines.find((one) => one.includes('/app --image'));
  expect(line).toMatch(new RegExp(`^--ip=eth0,${address},[0-9.]+ --defaultgw=${gateway} .* /app --image$`));
  expect(exit).toMatchObject({ reason: 'completed' });
});

test("words of the manifest stand in place of the image's", async () => {
  const changes = { command: ['/other', 'two words'], addressing: 'dhcp' } as const;
  const { lines } = await run(await diskSpec(toldDisk('osv', '/app --image', 'power-off'), 'raw', changes));
  expect(lines).toContain('--power-off-on-abort /other "two words"');
});

test('Nanos has its words inside: others are refused, and nothing is left', async () => {
  const spec = await diskSpec(toldDisk('nanos', 'x', 'power-off'), 'raw', { args: ['-v'] });
  const said = await runtime.apply({ do: 'create', spec }, signal).catch((error: SkerryError) => error);
  expect(said).toBeInstanceOf(SkerryError);
  expect(said).toMatchObject({ code: 'unsupported', message: expect.stringContaining('ops') });
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('a disk that could not be made leaves nothing', async () => {
  const spec = await diskSpec(toldDisk('osv', 'x', 'power-off'), 'raw', { args: ['y'.repeat(9000)] });
  await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({ code: 'unsupported' });
  expect(await bed.leftovers(spec.uid)).toEqual([]);
  expect(
    existsSync(join(bed.identity.dataDir, 'guests')) ? readdirSync(join(bed.identity.dataDir, 'guests')) : [],
  ).toEqual([]);
});

test('two guests of one image each have a disk of their own', async () => {
  const spec = await diskSpec(toldDisk('nanos', 'one', { exit: 0 }), 'raw');
  const other = {
    ...spec,
    ...(await bed.plainSpec({ memoryBytes: (16 * 1024 * 1024) as Bytes })),
    imageDigest: spec.imageDigest,
  };
  const ends = await Promise.all([run(spec), run(other)]);
  for (const { exit } of ends) expect(exit).toMatchObject({ reason: 'completed' });
});
