// A controller and two agents on bad days: clocks hours apart, an agent that slept through changes, a controller that dies in
// the middle of what it was asked, or hangs with its connections open. Nothing runs twice, nothing acknowledged is lost, and
// what need not be touched is not.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isAlive } from '@skerry/host';
import type { Instance, Workload } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Edge } from '../support/edge.ts';
import { ROOT } from '../support/program.ts';

const HOUR_MS = 3_600_000;
const edge = new Edge({
  nodes: ['north', 'south'],
  lostAfter: '2s',
  clocksMs: { north: HOUR_MS, south: -HOUR_MS },
});

const workload = (name: string, spec: object = {}) => ({
  ...{ apiVersion: 'skerry/v1', kind: 'Workload', metadata: { name } },
  spec: { runtime: 'container', image: 'hello:1', stopGrace: '300ms', ...spec },
});
const on = (node: string) => ({ placement: { nodeSelector: { node }, replaceAfter: '1h' } });
const apply = (manifests: readonly object[], ...args: string[]) =>
  edge.try('c', ['apply', '-f', '-', ...args], manifests.map((one) => JSON.stringify(one)).join('\n---\n'));
const applied = async (...manifests: object[]) =>
  expect(await apply(manifests, '--wait')).toMatchObject({ code: 0 });
const pids = (all: readonly Instance[]) =>
  Object.fromEntries(all.map(({ metadata, status }) => [metadata.name, status.pid]));
const calm = (count: number) =>
  eventually(`${count} instances run`, async () => {
    const all = await edge.instances();
    if (all.length === count && all.every(({ status }) => status.phase === 'running')) return all;
    const each = all.map(({ metadata, status }) => `${metadata.name} ${status.phase} (${status.reason})`);
    throw new Error(each.join('; '));
  });

beforeAll(async () => {
  await edge.begin();
  await edge.run('c', ['image', 'import', join(ROOT, 'guests/hello/build/hello.tar')]);
}, 120_000);
afterAll(async () => expect(await edge.end()).toEqual([]), 120_000);

test('nodes whose clocks are two hours apart, and are set while guests run, do as any others', async () => {
  const single = { singleInstance: true, placement: { nodeSelector: { node: 'north' }, replaceAfter: '5s' } };
  await applied(workload('one', single), workload('a', on('north')), workload('b', on('south')));
  const before = pids(await calm(3));
  edge.setClock('north', -5 * HOUR_MS);
  edge.setClock('south', 7 * HOUR_MS);
  await pause(6000); // longer than a lease: it must have been renewed
  expect(pids(await calm(3))).toEqual(before);
  for (const { status } of await edge.instances()) expect(status.restartCount).toBe(0);
}, 60_000);

test('an agent that slept through changes takes up what changed, and leaves the rest alone', async () => {
  await applied(workload('changed', on('north')), workload('deleted', on('north')));
  const before = pids(await calm(5));
  await edge.kill('north');
  expect((await apply([workload('changed', { ...on('north'), env: { V: '2' } })])).code).toBe(0);
  await edge.run('c', ['workload', 'delete', 'deleted', '--no-wait']);
  await edge.start('north');
  const after = pids(
    await eventually('all is as it was asked for', async () => {
      const all = await edge.instances();
      const isDone =
        all.length === 4 &&
        all.every(
          ({ metadata, status }) =>
            status.phase === 'running' && status.observedGeneration === metadata.generation,
        );
      return isDone ? all : undefined;
    }),
  );
  expect(Object.keys(after).sort()).toEqual(['a-0', 'b-0', 'changed-0', 'one-0']);
  expect(after['a-0']).toBe(before['a-0']);
  expect(after['b-0']).toBe(before['b-0']);
  expect(after['changed-0']).not.toBe(before['changed-0']);
}, 60_000);

test('a controller that is killed while it is asked loses nothing that it acknowledged, and does no file by half', async () => {
  const before = pids(await calm(4));
  const names = ['p', 'q', 'r'];
  for (const [round, killAfterMs] of [20, 100, 350].entries()) {
    const version = String(round);
    const file = names.map((name) => workload(name, { env: { ROUND: version }, replicas: 2 }));
    const asked = apply(file);
    await pause(killAfterMs); // a moment of its own in each round is the point
    await edge.kill('c');
    const { code } = await asked;
    await edge.start('c');
    const stored = (await edge.json<Workload[]>('workload', 'list')).filter(({ metadata }) =>
      names.includes(metadata.name),
    );
    const rounds = new Set(stored.map(({ spec }) => spec.env?.ROUND));
    expect(rounds.size, 'a file is done whole or not at all').toBeLessThanOrEqual(1);
    if (rounds.size === 1) expect(stored).toHaveLength(3);
    if (code === 0) expect([...rounds]).toEqual([version]);
  }
  await edge.ready();
  await applied(...names.map((name) => workload(name, { env: { ROUND: 'last' }, replicas: 2 })));
  const after = pids(await calm(10));
  // without a controller for longer than its lease, the single one may have ended
  for (const name of ['a-0', 'b-0', 'changed-0']) expect(after[name], name).toBe(before[name]);
  await edge.run('c', ['workload', 'delete', ...names]);
  await calm(4);
}, 120_000);

test('a controller that hangs with its connections open: what may run twice goes on, the single instance ends, and returns once', async () => {
  const before = await calm(4);
  const one = before.find(({ metadata }) => metadata.name === 'one-0')!;
  const guest = { pid: one.status.pid!, alive: () => isPid(one.status.pid!) };
  const controller = edge.programOf('c');
  process.kill(controller.pid, 'SIGSTOP');
  try {
    await eventually('the single instance has ended', () => !guest.alive(), { withinMs: 8000 });
    for (const { metadata, status } of before)
      if (metadata.name !== 'one-0') expect(isPid(status.pid!), metadata.name).toBe(true);
  } finally {
    process.kill(controller.pid, 'SIGCONT');
  }
  expect(isAlive(controller)).toBe(true);
  const after = await eventually('it runs again', async () => {
    const all = await edge.instances().catch(() => []);
    return (
      all.length === 4 && all.every(({ status }) => status.phase === 'running' && isPid(status.pid!)) && all
    );
  });
  const { 'one-0': old, ...others } = pids(before);
  const { 'one-0': fresh, ...same } = pids(after);
  expect(same).toEqual(others);
  expect(fresh).not.toBe(old);
}, 60_000);

function isPid(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
