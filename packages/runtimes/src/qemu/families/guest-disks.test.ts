// Guests that start from a disk, on real QEMU: the image is never written, and what lies on it is never believed.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Family, ImageContent } from '@skerry/images';
import { type Bytes, type GuestExit, SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../../port.ts';
import { createQemuRuntime } from '../runtime.ts';
import { kernelPath, makeQemuBed, type QemuBed, supervisorPath } from '../testing/bed.ts';
import { toldDisk } from '../testing/told-disk.ts';

const signal = AbortSignal.timeout(120_000);
let bed: QemuBed;
let runtime: Runtime;
const disks = new Map<string, { path: string; facts: object }>();

beforeAll(async () => {
  bed = await makeQemuBed();
  const { identity } = bed;
  const images: ImageContent = {
    blobPath: (digest) => disks.get(digest)!.path,
    has: async (digest) => disks.has(digest),
    facts: async (digest) => ({
      ...{ kind: 'unikernel', digest, sizeBytes: 0, arch: 'amd64', source: 'test' },
      facts: disks.get(digest)!.facts as Record<string, unknown>,
    }),
  };
  const logger = { warn: () => undefined };
  runtime = createQemuRuntime({ identity, images, kernelPath, supervisorPath, logger });
  await runtime.start(signal);
}, 60_000);
afterAll(async () => {
  await runtime?.destroy(signal);
  await runtime?.stop();
  expect(await bed?.close()).toEqual([]);
});

/** Takes the disk as the image store would. */
async function diskSpec(
  family: Family,
  bytes: Buffer,
  format: 'raw' | 'qcow2',
  changes: Partial<GuestSpec> = {},
): Promise<GuestSpec> {
  const digest = `sha256:${createHash('sha256').update(bytes).update(format).digest('hex')}`;
  const path = join(bed.identity.dataDir, `disk-${disks.size}`);
  writeFileSync(path, bytes);
  if (format === 'qcow2') {
    execFileSync('/usr/bin/qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', path, `${path}.qcow2`]);
    writeFileSync(path, readFileSync(`${path}.qcow2`));
  }
  disks.set(digest, { path, facts: { format: 'disk', family, diskFormat: format } });
  return { ...(await bed.plainSpec(changes)), imageDigest: digest };
}

async function run(spec: GuestSpec): Promise<{ lines: string[]; exit: GuestExit }> {
  const before = readFileSync(disks.get(spec.imageDigest)!.path);
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
    expect(readFileSync(disks.get(spec.imageDigest)!.path).equals(before)).toBe(true);
  }
}

test.each(['raw', 'qcow2'] as const)(
  'Nanos on a %s disk starts by the BIOS; its code leaves as it is',
  async (format) => {
    const { lines, exit } = await run(await diskSpec('nanos', toldDisk('nanos here', { exit: 2 }), format));
    expect(lines).toContain('nanos here');
    expect(exit).toMatchObject({ reason: 'error', code: 2 });
  },
);

test("OSv's disk is told its address in front of the image's own words", async () => {
  const spec = await diskSpec('osv', toldDisk('/app --image', 'power-off'), 'qcow2');
  const { lines, exit } = await run(spec);
  const { address, gateway } = spec.network!;
  const line = lines.find((one) => one.includes('/app --image'));
  expect(line).toMatch(new RegExp(`^--ip=eth0,${address},[0-9.]+ --defaultgw=${gateway} .* /app --image$`));
  expect(exit).toMatchObject({ reason: 'completed' });
});

test("words of the manifest stand in place of the image's", async () => {
  const changes = { command: ['/other', 'two words'], addressing: 'dhcp' } as const;
  const { lines } = await run(await diskSpec('osv', toldDisk('/app --image', 'power-off'), 'raw', changes));
  expect(lines).toContain('--power-off-on-abort /other "two words"');
});

test('Nanos has its words inside: others are refused, and nothing is left', async () => {
  const spec = await diskSpec('nanos', toldDisk('x', 'power-off'), 'raw', { args: ['-v'] });
  const said = await runtime.apply({ do: 'create', spec }, signal).catch((error: SkerryError) => error);
  expect(said).toBeInstanceOf(SkerryError);
  expect(said).toMatchObject({ code: 'unsupported', message: expect.stringContaining('ops') });
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('a disk that could not be made leaves nothing', async () => {
  const spec = await diskSpec('osv', toldDisk('x', 'power-off'), 'raw', { args: ['y'.repeat(9000)] });
  await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({ code: 'unsupported' });
  expect(await bed.leftovers(spec.uid)).toEqual([]);
  expect(
    existsSync(join(bed.identity.dataDir, 'guests')) ? readdirSync(join(bed.identity.dataDir, 'guests')) : [],
  ).toEqual([]);
});

test('two guests of one image each have a disk of their own', async () => {
  const spec = await diskSpec('nanos', toldDisk('one', { exit: 0 }), 'raw');
  const other = {
    ...spec,
    ...(await bed.plainSpec({ memoryBytes: (16 * 1024 * 1024) as Bytes })),
    imageDigest: spec.imageDigest,
  };
  const ends = await Promise.all([run(spec), run(other)]);
  for (const { exit } of ends) expect(exit).toMatchObject({ reason: 'completed' });
});
