// kill -9 of the program at random moments while guests of the four kinds are made, started, stopped, paused, kept, put back,
// replaced and deleted. It always converges; guests that nobody asked to change never do; nothing is orphaned.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '@skerry/contract';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  container,
  guestLinks,
  guestsOnHost,
  importFourKinds,
  machine,
  processesNaming,
  sector,
  system,
  unikernel,
} from '../support/four-kinds.ts';
import { type Program, startProgram } from '../support/program.ts';
import { seeded } from '../support/random.ts';

const KILLS = Number(process.env.CHAOS_KILLS ?? 50);
/** The seed makes a failing run repeatable up to the timing of the machine. */
const SEED = Number(process.env.CHAOS_SEED ?? 20_261_123);
/** Of a step: a request is served within tens of milliseconds; a start takes up to a second, and what follows it comes later. */
const STEPS_MS = [450, 450, 1500];

const project = 'default';
let skerry: Program;
let client: Client;
beforeAll(async () => {
  skerry = await startProgram();
  client = createClient({ socketPath: join(skerry.dataDir, 'api.sock') });
  await importFourKinds(skerry);
}, 120_000);
afterAll(async () => {
  await client.close();
  expect(await skerry.purge()).toEqual([]);
}, 120_000);

const apply = (manifest: object) => client.apply({ project, body: JSON.stringify(manifest) });
const instances = async () => (await client.instance.list({ project })).items;

const STEADY = [
  container('steady-hello', 'hello', 2),
  unikernel('steady-thermo'),
  system('steady-lighthouse', '64MiB'),
  machine('steady-harbour'),
];
const isSteady = ({ metadata }: Instance) => metadata.name.startsWith('steady-');
const pids = (all: readonly Instance[]) =>
  Object.fromEntries(all.map(({ metadata, status }) => [metadata.name, status.pid]));

/** What churns, by name: a manifest for each number; another number is another guest. */
const CHURN: Record<string, (variant: number) => object> = {
  'churn-thermo': (variant) => unikernel('churn-thermo', 1 + (variant % 2)),
  'churn-a': (variant) => container('churn-a', `${variant % 3}`, 1 + (variant % 2)),
  'churn-b': (variant) => container('churn-b', `${variant}`),
  'churn-lighthouse': (variant) => system('churn-lighthouse', `${32 + (variant % 2) * 16}MiB`),
  'churn-sector': (variant) => sector('churn-sector', `${16 + (variant % 2) * 8}MiB`),
};
/** The machine less often: it has verbs of its own, for which it must run. */
const CHURNED = [...Object.keys(CHURN), ...Object.keys(CHURN).filter((name) => name !== 'churn-sector')];
const AT = { project, name: 'churn-sector-0' };
const VERBS: ((name: string) => Promise<unknown>)[] = [
  (name) => client.workload.delete({ project, name }),
  (name) => client.workload.restart({ project, name }),
  (name) => client.workload.stop({ project, name }),
  (name) => client.workload.start({ project, name }),
];
/** What only a machine can. */
const MACHINE_VERBS: (() => Promise<unknown>)[] = [
  () => client.instance.pause(AT),
  () => client.instance.resume(AT),
  () => client.instance.snapshot({ ...AT, body: { name: 'kept' } }),
  () => client.instance.restore({ ...AT, snapshot: 'kept' }),
  () => client.instance.forget({ ...AT, snapshot: 'kept' }),
];

test(`after ${KILLS} kills at random moments all is as it was last asked for, and steady guests never stopped`, async () => {
  for (const manifest of STEADY) await apply(manifest);
  await eventually('all that is steady runs', async () => (await instances()).every(isRunning), {
    withinMs: 60_000,
  });
  const before = pids(await instances());
  expect(Object.values(before).filter((pid) => pid !== undefined)).toHaveLength(5);

  const draw = seeded(SEED);
  const oneOf = <T>(list: readonly T[]) => list[Math.floor(draw() * list.length)]!;
  const done = { asked: 0, answered: 0, machine: 0 };
  const act = async () => {
    const name = oneOf(CHURNED);
    const chance = draw();
    const variant = Math.floor(draw() * 6);
    const verb = oneOf(VERBS);
    done.asked++;
    // refused, broken off, come through without an answer: all of it may be
    const asked = chance < 0.65 ? apply(CHURN[name]!(variant)) : verb(name);
    await asked.then(
      () => done.answered++,
      () => undefined,
    );
  };
  /** Again and again until it is done: a machine that boots can not be paused. */
  const actOnMachine = async (killed: AbortSignal) => {
    const verb = oneOf(MACHINE_VERBS);
    while (!killed.aborted) {
      const worked = await verb().then(
        () => true,
        () => false,
      );
      if (worked) {
        done.machine++;
        return;
      }
      await pause(20);
    }
  };
  for (let kill = 0; kill < KILLS; kill++) {
    const killed = new AbortController();
    const acting = [act(), act(), actOnMachine(killed.signal)];
    await pause(draw() * oneOf(STEPS_MS)); // the random moment is what is tested
    await skerry.kill();
    killed.abort();
    await Promise.all(acting);
    await skerry.up();
  }
  expect(done.answered).toBeGreaterThan(KILLS / 3);
  expect(done.machine).toBeGreaterThan(0);

  // The last word, after which everything must settle.
  const last = [
    container('churn-a', 'last', 2),
    container('churn-b', 'last'),
    system('churn-lighthouse', '40MiB'),
    sector('churn-sector', '20MiB'),
  ];
  for (const manifest of last) {
    const { name } = manifest.metadata;
    // one that is being deleted can be made again when it is gone
    await eventually(`${name} is taken on`, () => apply(manifest).then(() => true));
    await client.workload.start({ project, name }).catch(() => undefined);
  }
  await client.workload.delete({ project, name: 'churn-thermo' }).catch(() => undefined);
  await eventually('all workloads are as asked for', settled, { withinMs: 90_000, everyMs: 500 });
  const after = await instances();
  expect(pids(after.filter(isSteady))).toEqual(before);
  expect(after.map(({ metadata }) => metadata.name).sort()).toEqual(
    [
      ...Object.keys(before),
      ...['churn-a-0', 'churn-a-1', 'churn-b-0', 'churn-lighthouse-0', 'churn-sector-0'],
    ].sort(),
  );
  for (const { status } of after)
    expect(readFileSync(`/proc/${status.pid}/status`, 'utf8')).toMatch(/^State:\s+[SRD]/m);
  for (const { status } of after.filter(isSteady)) expect(status.restartCount).toBe(0);

  await eventually(
    'nothing on the host is of a guest that is no more',
    () => {
      const orphans = [...guestsOnHost(skerry)].filter(
        ([uid]) => !after.some(({ metadata }) => metadata.uid === uid),
      );
      if (orphans.length > 0)
        throw new Error(JSON.stringify(orphans.map(([uid, where]) => [uid, where, processesNaming(uid)])));
      return true;
    },
    { withinMs: 30_000 },
  );
  expect(guestLinks(skerry.id)).toHaveLength(after.filter(({ spec }) => spec.network).length);
}, 600_000);

const isRunning = ({ status }: Instance) => status.phase === 'running';

async function settled(): Promise<boolean> {
  const { items } = await client.workload.list({ project });
  const unsettled = items.filter(
    ({ metadata, spec, status }) =>
      status.ready !== (spec.replicas ?? 1) || status.observedGeneration < metadata.generation,
  );
  if (unsettled.length > 0)
    throw new Error(
      JSON.stringify([unsettled.map(({ metadata, status }) => [metadata.name, status]), await instances()]),
    );
  expect(items.map(({ metadata }) => metadata.name).sort()).toEqual(
    [...STEADY.map(({ metadata }) => metadata.name), ...Object.keys(CHURN)]
      .filter((name) => name !== 'churn-thermo')
      .sort(),
  );
  return true;
}
