// A guest fills the node's disk: it hears "no space", the others and the program go on, and all works again when there is room.
// The data folder lies on a small file system of the test's own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '@skerry/contract';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { container, system } from '../support/four-kinds.ts';
import { type Program, ROOT, startProgram } from '../support/program.ts';

const LIGHTHOUSE = join(ROOT, 'guests/system-busybox/build/rootfs.tar');
const project = 'default';
const folder = mkdtempSync(join(tmpdir(), 'skerry-full-'));
const image = `${folder}.img`;
const ballast = join(folder, 'ballast');
let skerry: Program;
let client: Client;

const withDisk = (manifest: ReturnType<typeof system>, disk: string) => {
  const spec = manifest.spec as { resources: object };
  return { ...manifest, spec: { ...spec, resources: { ...spec.resources, disk } } };
};
const apply = (manifest: object) => client.apply({ project, body: JSON.stringify(manifest) });
const instances = async () => (await client.instance.list({ project })).items;
const pids = async () =>
  Object.fromEntries((await instances()).map(({ metadata, status }) => [metadata.name, status.pid]));
/** Of those guests alone, as JSON. */
const pidsOf = async (some: object) => {
  const all = await pids();
  return JSON.stringify(Object.fromEntries(Object.keys(some).map((name) => [name, all[name]])));
};
const reasonOf = async (name: string) =>
  (await instances()).find(({ metadata }) => metadata.name === name)?.status.reason;
const isRunning = ({ status }: Instance) => status.phase === 'running';
const freeBytes = () => {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
};
/** A command of the guest's shell; its output with its code. */
const inside = async (workload: string, script: string) =>
  (await skerry.try('workload', 'exec', workload, '--', '/bin/sh', '-c', `(${script}) 2>&1; echo code $?`))
    .stdout;
const healthUrls = async () =>
  (await instances())
    .filter(({ metadata }) => metadata.name !== 'late-0')
    .map(({ spec }) => `http://${spec.network!.address}:8080/healthz`);
const answers = async () => {
  for (const url of await healthUrls()) expect(await (await fetch(url)).text()).toMatch(/ok/);
};

beforeAll(async () => {
  // ext4, for what is written to a tmpfs is charged as the guest's memory
  execFileSync('truncate', ['-s', '256M', image]);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, folder]);
  skerry = await startProgram({ parent: folder });
  client = createClient({ socketPath: join(skerry.dataDir, 'api.sock') });
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('image', 'import', LIGHTHOUSE, '--name', 'lighthouse:1');
  await apply(container('open-container', 'hello'));
  await apply(system('open-system', '64MiB'));
  await apply(withDisk(container('limited-container', 'hello'), '48MiB'));
  await apply(withDisk(system('limited-system', '64MiB'), '48MiB'));
  await eventually('they run', async () => (await instances()).filter(isRunning).length === 4);
}, 120_000);
afterAll(async () => {
  await client.close();
  rmSync(ballast, { force: true });
  const left = await skerry.purge();
  execFileSync('umount', [folder]);
  rmSync(folder, { recursive: true, force: true });
  rmSync(image, { force: true });
  expect(left).toEqual([]);
}, 120_000);

const LIMITED = ['limited-container', 'limited-system'];
/** Files, folders, and 8 MiB that are forced to the disk. */
const WRITES =
  'for d in 1 2 3 4 5 6 7 8 9; do mkdir -p /kept/$d && echo hello $d > /kept/$d/word || exit 1; done; dd if=/dev/zero of=/kept/more bs=1M count=8 conv=fsync && sync';
const READS = 'cat /kept/*/word && rm -r /kept';

test.each(['open-container', 'open-system'])(
  '%s fills it: the guest hears it, all others go on, and so does everything when there is room',
  async (filler) => {
    const before = await pids();
    writeFileSync(ballast, Buffer.alloc(4 << 20));
    expect(await inside(filler, 'dd if=/dev/zero of=/big bs=1M count=400 conv=fsync')).toMatch(
      /No space left on device[\s\S]*code 1/,
    );
    expect(freeBytes()).toBeLessThan(8 << 20);
    await answers();
    // whose disk was promised has it
    for (const other of LIMITED) expect(await inside(other, WRITES)).toMatch(/code 0/);
    // and what has no room any more is told: by the store, or by the guest that can not be made
    const late = withDisk(container('late', 'hello'), '48MiB');
    const refused = await apply(late).then(
      () => eventually('the reason is shown', () => reasonOf('late-0')),
      (error) => String(error.code),
    );
    expect(refused).toMatch(/store_full|disk_full|file system of the data folder has .* left/);

    // a program that is started on it comes up or says why not, and no guest notices; with some room it finds all as it is
    const addresses = await healthUrls();
    await skerry.kill();
    const started = await skerry.try('up', '--detach');
    if (started.code !== 0) expect(started.stderr).toMatch(/store_full|disk_full/);
    for (const url of addresses) expect(await (await fetch(url)).text()).toMatch(/ok/);
    rmSync(ballast);
    if (started.code !== 0) await skerry.up();
    await eventually('all are found', async () => (await pidsOf(before)) === JSON.stringify(before));
    await answers();

    await inside(filler, 'rm /big');
    for (const other of LIMITED)
      expect(await inside(other, READS)).toMatch(/hello 1\n[\s\S]*hello 9\ncode 0/);
    await eventually('what was refused is taken on', () => apply(late).then(() => true));
    await eventually('it runs', async () => (await instances()).every(isRunning), { withinMs: 60_000 });
    expect(await pidsOf(before)).toBe(JSON.stringify(before));
    await client.workload.delete({ project, name: 'late' });
    await eventually('it is gone', async () => (await instances()).length === 4);
  },
  120_000,
);
