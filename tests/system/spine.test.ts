// The main job on real engines, by the commands that a user types.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Event, Instance, Workload } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Program, ROOT, startProgram } from '../support/program.ts';

const example = (name: string) => join(ROOT, 'examples', name);
let skerry: Program;
const instances = () => skerry.json<Instance[]>('workload', 'instances');
const addressOf = async (workload: string) => {
  const found = (await instances()).find((one) => one.spec.workload === workload);
  return `http://${found!.spec.network!.address}:8080`;
};
const get = async (workload: string, path = '/') =>
  (await fetch(`${await addressOf(workload)}${path}`)).text();
const pids = async () =>
  Object.fromEntries((await instances()).map((one) => [one.metadata.name, one.status.pid]));

beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});

test('a plan takes no step, and apply takes the same ones', async () => {
  const planned = await skerry.run('plan', '-f', example('spine.yaml'));
  expect(await instances()).toEqual([]);
  const applied = await skerry.run('apply', '-f', example('spine.yaml'), '--wait');
  expect(applied).toBe(planned);
  expect(await skerry.run('apply', '-f', example('spine.yaml'))).toMatch(
    /workload\/hello unchanged\nworkload\/thermo unchanged/,
  );
});

test('a container and a unikernel answer HTTP, healthy, with the times of their start', async () => {
  const all = await instances();
  expect(all.map((one) => [one.metadata.name, one.status.phase, one.status.health])).toEqual([
    ['hello-0', 'running', 'healthy'],
    ['thermo-0', 'running', 'healthy'],
  ]);
  for (const { status } of all) expect(status.startMs).toBeGreaterThan(0);
  expect(await get('hello', '/cgi-bin/whoami')).toBe('hello-0 says hello\n');
  expect(await get('thermo', '/healthz')).toMatch(/ok/);
});

test('a year of measured temperatures goes through the function', async () => {
  const [heading, ...rows] = readFileSync(join(ROOT, 'node_modules/vega-datasets/data/sf-temps.csv'), 'utf8')
    .trim()
    .split('\n');
  const url = await addressOf('thermo');
  for (let at = 0; at < rows.length; at += 2000) {
    const body = [heading, ...rows.slice(at, at + 2000)].join('\n');
    const answer = await fetch(`${url}/readings`, {
      method: 'POST',
      headers: { 'content-type': 'text/csv' },
      body,
    });
    expect(answer.status).toBe(200);
  }
  const temperatures = rows.map((row) => Number(row.split(',')[1]));
  const mean = temperatures.reduce((sum, one) => sum + one, 0) / temperatures.length;
  const seen = JSON.parse(await get('thermo')) as { count: number; mean: number; min: number; max: number };
  expect(seen.count).toBe(rows.length);
  expect(seen.mean).toBeCloseTo(mean, 2);
  expect([seen.min, seen.max]).toEqual([Math.min(...temperatures), Math.max(...temperatures)]);
});

test('guests outlive kill -9 of the program: the same processes, found again, with what they knew', async () => {
  const before = await pids();
  const url = await addressOf('hello');
  await skerry.kill();
  expect(await (await fetch(`${url}/healthz`)).text()).toBe('ok\n');
  await skerry.up();
  await skerry.run('apply', '-f', example('spine.yaml'), '--wait');
  expect(await pids()).toEqual(before);
  expect((JSON.parse(await get('thermo')) as { count: number }).count).toBeGreaterThan(8000);
});

test('exec runs a command inside and hands on its exit code and its streams', async () => {
  expect(await skerry.run('workload', 'exec', 'hello', '--', '/bin/echo', 'from inside')).toBe(
    'from inside\n',
  );
  const failed = await skerry.try(
    'workload',
    'exec',
    'hello',
    '--',
    '/bin/sh',
    '-c',
    'echo oops >&2; exit 7',
  );
  expect(failed).toMatchObject({ code: 7, stderr: 'oops\n' });
  const missing = await skerry.try('workload', 'exec', 'hello', '--', '/no/such/program');
  expect(missing.code).not.toBe(0);
});

test('logs and figures of both kinds are there', async () => {
  expect(await skerry.run('workload', 'logs', 'thermo')).toMatch(/pebble: /);
  const rows = await skerry.json<{ memoryBytes: number }[]>('workload', 'stats', 'thermo');
  expect(rows[0]!.memoryBytes).toBeGreaterThan(1_000_000);
});

test('stop, start and restart do what they say, and a restart has its reason', async () => {
  await skerry.run('workload', 'stop', 'hello', '--wait');
  await eventually('hello is stopped', async () =>
    (await instances()).some((one) => one.spec.workload === 'hello' && one.status.phase === 'stopped'),
  );
  await skerry.run('workload', 'start', 'hello', '--wait');
  const before = (await pids())['hello-0'];
  await skerry.run('workload', 'restart', 'hello', '--wait');
  await eventually('another process runs', async () => (await pids())['hello-0'] !== before);
  await eventually('the reason is shown', async () =>
    /requested/.test(await skerry.run('workload', 'show', 'hello')),
  );
});

test('a change of the spec replaces the guest; a label does not', async () => {
  await skerry.run('apply', '-f', example('spine.yaml'), '--wait');
  const before = await pids();
  const [hello] = await skerry.json<Workload[]>('workload', 'list', '--selector', 'app=hello');
  expect(hello!.metadata.name).toBe('hello');
  const text = readFileSync(example('spine.yaml'), 'utf8');
  const changed = (from: string, to: string) => skerryApply(text.replace(from, to));
  await changed('labels: { app: hello }', 'labels: { app: hello, tier: front }');
  expect(await pids()).toEqual(before);
  await changed('GREETING: hello', 'GREETING: ahoy');
  await eventually(
    'the new greeting',
    async () => (await get('hello', '/cgi-bin/whoami')) === 'hello-0 says ahoy\n',
  );
  expect((await pids())['thermo-0']).toBe(before['thermo-0']);
});

async function skerryApply(text: string): Promise<void> {
  const { skerry: run } = await import('../support/program.ts');
  const ran = await run(['apply', '-f', '-', '--wait'], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: text,
  });
  expect(ran).toMatchObject({ code: 0 });
}

test('events tell the story in order', async () => {
  const events = await skerry.json<Event[]>('event', 'list');
  expect(events.map((one) => one.sequence)).toEqual(
    [...events.map((one) => one.sequence)].sort((a, b) => a - b),
  );
  expect(events.map((one) => one.reason)).toContain('Started');
});

test('deleting what the manifest named leaves no instance', async () => {
  await skerry.run('delete', '-f', example('spine.yaml'));
  expect(await instances()).toEqual([]);
  expect(await skerry.json<Workload[]>('workload', 'list')).toEqual([]);
});

test('every output format of every list is what it says', async () => {
  const { parse } = await import('yaml');
  for (const group of ['workload', 'image', 'volume', 'node', 'project', 'operation', 'event']) {
    const json = await skerry.json<unknown[]>(group, 'list');
    const yaml = parse(await skerry.run(group, 'list', '--output', 'yaml'));
    expect(Array.isArray(json), group).toBe(true);
    if (group === 'image') expect(yaml).toEqual(json);
    expect((await skerry.try(group, 'list', '--output', 'xml')).code).toBe(2);
  }
  const shown = parse(await skerry.run('image', 'show', 'thermo'));
  expect(shown).toMatchObject({ kind: 'function' });
  expect(await skerry.run('complete', '--', 'image', 'delete', '')).toMatch(/^hello:1$/m);
});
