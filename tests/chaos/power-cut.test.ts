// Everything ends at once, as when the power goes: the program, engines, guests, name server; and what lives in memory only
// (run folder, namespaces, bridge, rules, control groups) is gone. Then the agent alone, its controller out of reach, brings
// all back from its ledger. And: containerd killed under running containers.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cutPower, processesOf } from '../support/power.ts';
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

test('containerd killed under running containers: they go on, the same processes, and new ones can be made', async () => {
  const before = Object.fromEntries((await instances()).map((one) => [one.metadata.name, one.status.pid]));
  const engine = processesOf(skerry).filter((pid) =>
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
  await cutPower(skerry);
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
