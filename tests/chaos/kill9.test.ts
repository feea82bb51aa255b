// kill -9 of the program at random moments while guests are made, started, stopped and deleted. It always converges;
// guests that nobody asked to change never do; nothing is orphaned.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Instance, Workload } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

const KILLS = Number(process.env.CHAOS_KILLS ?? 50);
/** The seed makes a failing run repeatable up to the timing of the machine. */
const SEED = Number(process.env.CHAOS_SEED ?? 20_261_123);

/** mulberry32, public domain. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const container = (name: string, greeting: string, replicas: number) => ({
  apiVersion: 'skerry/v1',
  kind: 'Workload',
  metadata: { name },
  spec: {
    runtime: 'container',
    image: 'hello:1',
    replicas,
    resources: { cpus: 0.2, memory: '16MiB' },
    env: { GREETING: greeting },
    ports: [{ name: 'http', port: 8080 }],
    health: { http: { port: 8080, path: '/healthz' } },
    stopGrace: '100ms',
  },
});
const unikernel = (name: string, replicas: number) => ({
  apiVersion: 'skerry/v1',
  kind: 'Workload',
  metadata: { name },
  spec: {
    runtime: 'unikernel',
    image: 'thermo',
    replicas,
    resources: { cpus: 1, memory: '8MiB' },
    ports: [{ name: 'http', port: 8080 }],
  },
});

let skerry: Program;
beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
}, 120_000);

const apply = (manifest: object, ...more: string[]) =>
  cli(['apply', '-f', '-', ...more], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: JSON.stringify(manifest),
  });
const pidsOf = async (prefix: string) =>
  Object.fromEntries(
    (await skerry.json<Instance[]>('workload', 'instances'))
      .filter((one) => one.metadata.name.startsWith(prefix))
      .map((one) => [one.metadata.name, one.status.pid]),
  );

test(`after ${KILLS} kills at random moments all is as it was last asked for, and steady guests never stopped`, async () => {
  const draw = random(SEED);
  const steady = [container('steady', 'hello', 2), unikernel('calm', 1)];
  for (const manifest of steady) expect(await apply(manifest, '--wait')).toMatchObject({ code: 0 });
  const before = { ...(await pidsOf('steady')), ...(await pidsOf('calm')) };
  expect(Object.values(before).every((pid) => pid !== undefined)).toBe(true);

  // What was last acknowledged, by name: undefined is deleted. A request that was cut off may have come through or not.
  const wanted = new Map<string, object | undefined>();
  const act = async (step: number) => {
    const name = `churn-${Math.floor(draw() * 3)}`;
    const verb = Math.floor(draw() * 5);
    if (verb === 0) await skerry.try('workload', 'delete', name, '--no-wait');
    else if (verb === 1) await skerry.try('workload', 'restart', name);
    else if (verb === 2)
      await apply(
        name === 'churn-0' ? unikernel(name, 1) : container(name, `${step}`, 1 + Math.floor(draw() * 2)),
      );
    else
      await apply(
        name === 'churn-0' ? unikernel(name, 1 + Math.floor(draw() * 2)) : container(name, 'same', 1),
      );
  };
  for (let kill = 0; kill < KILLS; kill++) {
    const acting = act(kill);
    await pause(draw() * 350); // the random moment is what is tested
    await skerry.kill();
    await acting;
    await skerry.up();
  }

  // The last word, after which everything must settle.
  wanted.set('churn-0', undefined);
  wanted.set('churn-1', container('churn-1', 'last', 2));
  wanted.set('churn-2', container('churn-2', 'last', 1));
  for (const [name, manifest] of wanted) {
    if (manifest) expect(await apply(manifest)).toMatchObject({ code: 0 });
    else await skerry.try('workload', 'delete', name, '--no-wait');
  }
  await eventually(
    'all workloads are as asked for',
    async () => {
      const workloads = await skerry.json<Workload[]>('workload', 'list');
      const names = workloads.map((one) => one.metadata.name).sort();
      const unsettled = workloads.filter(
        (one) =>
          one.status.ready !== (one.spec.replicas ?? 1) ||
          one.status.observedGeneration < one.metadata.generation,
      );
      if (unsettled.length > 0)
        throw new Error(JSON.stringify([unsettled, await skerry.json('workload', 'instances')]));
      expect(names).toEqual(['calm', 'churn-1', 'churn-2', 'steady']);
      return true;
    },
    { withinMs: 90_000, everyMs: 500 },
  );
  expect({ ...(await pidsOf('steady')), ...(await pidsOf('calm')) }).toEqual(before);

  // No orphan: as many guests on the host as instances in the store, and every instance's process is alive.
  const instances = await skerry.json<Instance[]>('workload', 'instances');
  expect(instances.map((one) => one.metadata.name).sort()).toEqual([
    'calm-0',
    'churn-1-0',
    'churn-1-1',
    'churn-2-0',
    'steady-0',
    'steady-1',
  ]);
  for (const { status } of instances)
    expect(readFileSync(`/proc/${status.pid}/status`, 'utf8')).toMatch(/^State:\s+[SRD]/m);
  await eventually(
    'no guest is on the host that no instance stands for',
    async () => (await guestsOnHost()).length === instances.length,
  );
}, 420_000);

/** Uids of the guests that the host knows: control groups and network namespaces or taps carry them. */
async function guestsOnHost(): Promise<string[]> {
  const { readdirSync } = await import('node:fs');
  const folder = `/run/skerry/${skerry.id}/g`;
  const kernels = readdirSync(folder);
  const namespaces = readdirSync('/run/netns').filter((name) => name.startsWith(`skerry-${skerry.id}-`));
  return [...kernels, ...namespaces];
}
