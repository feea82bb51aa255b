// Everything ends at once, as when the power goes: the program, engines, guests, name server; and what lives in memory only
// (run folder, namespaces, bridge, rules, control groups) is gone. Then the agent alone, its controller out of reach, brings
// all back from its ledger. And: containerd killed under running containers.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

let skerry: Program;
/** Three containers, three unikernels, a system container and a virtual machine. */
const ALL = 8;
beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
  await skerry.run(
    'image',
    'import',
    join(ROOT, 'guests/system-busybox/build/rootfs.tar'),
    '--name',
    'lighthouse:1',
  );
  await skerry.run('image', 'import', join(ROOT, 'guests/vm-linux/build/disk.qcow2'), '--name', 'harbour:1');
  const [machine, system] = readFileSync(join(ROOT, 'examples/four-kinds.yaml'), 'utf8').split('\n---\n');
  const small = readFileSync(join(ROOT, 'examples/spine.yaml'), 'utf8').replaceAll(
    'replicas: 1',
    'replicas: 3',
  );
  const text = [machine, system, small].join('\n---\n');
  const applied = await cli(['apply', '-f', '-', '--wait'], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: text,
  });
  expect(applied).toMatchObject({ code: 0 });
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});

const instances = () => skerry.json<Instance[]>('workload', 'instances');
const urls = async () => (await instances()).map((one) => `http://${one.spec.network!.address}:8080/healthz`);
const ok = async (url: string) => (await fetch(url, { signal: AbortSignal.timeout(1000) })).ok;

/** Processes that carry the identity of the data folder in their arguments, and the tasks of its containers. */
function processes(): number[] {
  const marks = [skerry.id, skerry.dataDir];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const told =
          readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/cgroup`, 'utf8');
        return Number(pid) !== process.pid && marks.some((mark) => told.includes(mark));
      } catch {
        return false;
      }
    })
    .map(Number);
}
const quietly = (file: string, ...args: string[]) => {
  try {
    execFileSync(file, args, { stdio: 'ignore' });
  } catch {
    // it was not there
  }
};

/** What a reboot leaves: the disk. */
async function cutPower(): Promise<void> {
  await eventually('every process has ended', () => {
    for (const pid of processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    return processes().length === 0;
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const path of mounts
    .filter((one) => one.includes(skerry.id) || one.includes(skerry.dataDir))
    .reverse())
    quietly('umount', '-l', path);
  for (const name of readdirSync('/run/netns').filter((one) => one.includes(skerry.id)))
    quietly('ip', 'netns', 'delete', name);
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }).matchAll(/^\d+: ([^:@]+)/gm);
  for (const [, name] of links) if (name!.includes(skerry.id)) quietly('ip', 'link', 'delete', name!);
  for (const family of ['inet', 'bridge']) quietly('nft', 'delete', 'table', family, `skerry_${skerry.id}`);
  rmSync(`/run/skerry/${skerry.id}`, { recursive: true, force: true });
}

test('containerd killed under running containers: they go on, the same processes, and new ones can be made', async () => {
  const before = Object.fromEntries((await instances()).map((one) => [one.metadata.name, one.status.pid]));
  const engine = processes().filter((pid) =>
    /^containerd\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')),
  );
  expect(engine).toHaveLength(1);
  process.kill(engine[0]!, 'SIGKILL');
  expect(await Promise.all((await urls()).map(ok))).toEqual(Array(ALL).fill(true));
  const more = readFileSync(join(ROOT, 'examples/spine.yaml'), 'utf8')
    .split('---')[0]!
    .replace('name: hello', 'name: another');
  const applied = await cli(['apply', '-f', '-', '--wait'], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: more,
  });
  expect(applied).toMatchObject({ code: 0 });
  await skerry.run('workload', 'delete', 'another');
  const after = Object.fromEntries((await instances()).map((one) => [one.metadata.name, one.status.pid]));
  expect(after).toEqual(before);
});

test('after a power cut the agent alone brings all back from its ledger', async () => {
  const before = await urls();
  expect(before).toHaveLength(ALL);
  await cutPower();
  expect(await Promise.all(before.map((url) => ok(url).catch(() => false)))).toEqual(Array(ALL).fill(false));
  const begun = performance.now();
  await skerry.run('up', '--detach', '--alone');
  await eventually(
    'all answer again at their addresses',
    async () => (await Promise.all(before.map(ok))).every(Boolean),
    { withinMs: 60_000 },
  );
  console.log(
    `power cut: all ${ALL} guests of four kinds answered again after ${Math.round(performance.now() - begun)} ms, without a controller`,
  );
  // With its controller back, nothing is started anew.
  const folder = `/run/skerry/${skerry.id}/g`;
  const kernels = readdirSync(folder).map((uid) => readFileSync(join(folder, uid, 'pid'), 'utf8'));
  await skerry.run('down');
  await skerry.up();
  await eventually('the controller sees all of them', async () =>
    (await instances()).every((one) => one.status.phase === 'running'),
  );
  expect(readdirSync(folder).map((uid) => readFileSync(join(folder, uid, 'pid'), 'utf8'))).toEqual(kernels);
  const shown = await skerry.run('workload', 'show', 'thermo');
  expect(shown).toMatch(/vanished/);
});
