// Somebody sets the machine's time by hours, forward and back, while guests run, are checked, and wait for their next try.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '@skerry/contract';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { container, importFourKinds, sector, system, unikernel } from '../support/four-kinds.ts';
import { type Program, ROOT, startProgram } from '../support/program.ts';

const HOUR_MS = 3_600_000;
const project = 'default';
let skerry: Program;
let client: Client;

beforeAll(async () => {
  skerry = await startProgram({ node: ['--import', join(ROOT, 'tests/support/set-clock.mjs')] });
  client = createClient({ socketPath: join(skerry.dataDir, 'api.sock') });
  await importFourKinds(skerry);
}, 120_000);
afterAll(async () => {
  await client.close();
  rmSync(`${skerry.dataDir}.clock`, { force: true });
  expect(await skerry.purge()).toEqual([]);
}, 120_000);

const apply = (manifest: object) => client.apply({ project, body: JSON.stringify(manifest) });
const instances = async () => (await client.instance.list({ project })).items;
const instance = async (name: string) => (await instances()).find(({ metadata }) => metadata.name === name)!;
const isSteady = ({ metadata }: Instance) => metadata.name.startsWith('steady-');
const steadyPids = async () =>
  Object.fromEntries(
    (await instances()).filter(isSteady).map(({ metadata, status }) => [metadata.name, status.pid]),
  );
const isRunning = ({ status }: Instance) => status.phase === 'running';

/** Processor time that the program has taken, in milliseconds (proc_pid_stat(5): utime and stime, 100 a second). */
function takenMs(): number {
  const fields = readFileSync(`/proc/${skerry.pid()}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const checked = (manifest: ReturnType<typeof container>) => ({
  ...manifest,
  spec: { ...manifest.spec, health: { http: { port: 8080, path: '/healthz' }, interval: '1s' } },
});
/** Ends at once, again and again. */
const crashing = () => {
  const { spec, ...rest } = container('crash', 'hello');
  const { health: _, ...more } = spec as Record<string, unknown>;
  return { ...rest, spec: { ...more, command: ['/bin/sh', '-c', 'exit 3'] } };
};

test('guests of all kinds run, one crash-loops', async () => {
  const steady = [container('steady-a', 'hello'), system('steady-b', '64MiB')].map(checked);
  for (const one of [...steady, unikernel('steady-c'), sector('steady-d', '16MiB'), crashing()])
    await apply(one);
  await eventually('they run', async () => {
    const running = (await instances()).filter(isSteady).filter(isRunning);
    return running.length === 4;
  });
});

test.each([6, -6])(
  'the clock is set to %d h off',
  async (hours) => {
    const before = await steadyPids();
    await client.workload.restart({ project, name: 'crash' }); // its pauses begin anew: how long the next is, is known
    await eventually('its pauses are long', async () =>
      /failure 6 in a row/.test((await instance('crash-0')).status.reason ?? ''),
    );
    const { restartCount } = (await instance('crash-0')).status;
    const { last } = await lastEvent();
    const { uptimeMs } = await client.status();
    writeFileSync(`${skerry.dataDir}.clock`, String(hours * HOUR_MS));
    const begunMs = performance.now();
    const tookMs = takenMs();
    await pause(3000); // three checks of each guest are due: that nothing else happens is what is tested
    expect(takenMs() - tookMs).toBeLessThan(1500);
    expect(await steadyPids()).toEqual(before);
    const ranMs = (await client.status()).uptimeMs - uptimeMs;
    expect(ranMs).toBeGreaterThan(2900);
    expect(ranMs).toBeLessThan(60_000);

    // one that waits is tried again when its pause is over: 8 s the sixth time
    await eventually(
      'it is tried again',
      async () => (await instance('crash-0')).status.restartCount > restartCount,
      {
        withinMs: 60_000,
        everyMs: 100,
      },
    );
    const passedMs = performance.now() - begunMs;
    expect((await instance('crash-0')).status.restartCount - restartCount).toBeLessThanOrEqual(
      1 + passedMs / 3000,
    );

    // what is asked for now is done, and told with the time that is
    await apply(container(`new-${hours > 0 ? 'late' : 'early'}`, 'hello'));
    const name = `new-${hours > 0 ? 'late' : 'early'}-0`;
    await eventually('it runs', async () => isRunning(await instance(name)));
    const told = await lastEvent();
    expect(told.last).toBeGreaterThan(last);
    expect(Math.abs(Date.parse(told.at) - Date.now() - hours * HOUR_MS)).toBeLessThan(60_000);

    // an end is judged once, by its own reason, and its guest is back at once
    process.kill((await instance(name)).status.pid!, 'SIGKILL');
    await eventually('it is back', async () => {
      const { status } = await instance(name);
      return status.restartCount === 1 && isRunning(await instance(name));
    });
    expect((await instance(name)).status.exits.map(({ reason }) => reason)).toEqual(['signal']);

    // and who starts then finds all as it is
    await skerry.kill();
    await skerry.up();
    await eventually('all is found', async () => (await instances()).filter(isSteady).every(isRunning));
    expect(await steadyPids()).toEqual(before);
    for (const { status } of (await instances()).filter(isSteady)) expect(status.restartCount).toBe(0);
  },
  120_000,
);

async function lastEvent(): Promise<{ last: number; at: string }> {
  const { items } = await client.event.list({ limit: 1 });
  const newest = items.at(-1)!;
  return { last: newest.sequence, at: newest.at };
}
