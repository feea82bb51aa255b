// A controller and two agents, with real guests: what is a single instance never runs twice, whatever is killed or hangs.
import { join } from 'node:path';
import { isAlive, type ProcessRef, processRef } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Edge } from '../support/edge.ts';
import { ROOT } from '../support/program.ts';

/** A lease is a little shorter: long enough for a program that is started again on a slow machine. */
const REPLACE_AFTER = '9s';
const LEASE_OVER_MS = 9000;
const edge = new Edge({ nodes: ['north', 'south'], lostAfter: '2s' });

interface Running {
  readonly node: string;
  readonly uid: string;
  readonly guest: ProcessRef;
}
async function look(): Promise<Running | undefined> {
  const [one] = await edge.instances();
  const guest = one?.status.phase === 'running' && one.status.pid ? processRef(one.status.pid) : undefined;
  return guest && { node: one!.spec.node!, uid: one!.metadata.uid, guest };
}
const runs = (as: (one: Running) => boolean = () => true) =>
  eventually(
    'it runs',
    async () => {
      const one = await look();
      return one && as(one) ? one : undefined;
    },
    { withinMs: 60_000 },
  );
const ended = async ({ guest }: Running, withinMs: number) => {
  await eventually('the guest has ended', () => !isAlive(guest), { withinMs });
  return performance.now();
};

beforeAll(async () => {
  await edge.begin();
  await edge.run('c', ['image', 'import', join(ROOT, 'guests/hello/build/hello.tar')]);
  const manifest = {
    ...{ apiVersion: 'skerry/v1', kind: 'Workload', metadata: { name: 'one' } },
    spec: {
      ...{ runtime: 'container', image: 'hello:1', singleInstance: true, stopGrace: '500ms' },
      placement: { replaceAfter: REPLACE_AFTER },
    },
  };
  await edge.run('c', ['apply', '-f', '-', '--wait'], JSON.stringify(manifest));
}, 120_000);

afterAll(async () => expect(await edge.end()).toEqual([]), 120_000);

test('an agent or a controller that is killed and started again at once is missed by nobody', async () => {
  const before = await runs();
  await edge.kill(before.node);
  await edge.start(before.node);
  const reached = () =>
    eventually('the agent is reached', () =>
      edge.run('c', ['workload', 'exec', 'one', '--', '/bin/busybox', 'true']),
    );
  await reached();
  expect(await runs()).toEqual(before);
  await edge.kill('c');
  await edge.start('c');
  await reached();
  expect(await runs()).toEqual(before);
}, 60_000);

test('an agent that hangs does not keep its copy alive beyond the lease, and gets it back when it goes on', async () => {
  const before = await runs();
  const agent = edge.programOf(before.node);
  process.kill(agent.pid, 'SIGSTOP');
  try {
    await ended(before, LEASE_OVER_MS);
  } finally {
    process.kill(agent.pid, 'SIGCONT');
  }
  const after = await runs(({ guest }) => guest.pid !== before.guest.pid);
  expect(after).toMatchObject({ uid: before.uid, node: before.node });
}, 60_000);

test('of an agent that is killed for good, the copy ends before another one is started on the other node', async () => {
  const before = await runs();
  await edge.kill(before.node);
  const endedMs = ended(before, LEASE_OVER_MS);
  const after = await runs(({ node }) => node !== before.node);
  const seenMs = performance.now();
  expect(after.uid).not.toBe(before.uid);
  expect(await endedMs).toBeLessThan(seenMs);
  const [{ status }] = (await edge.instances()) as [Awaited<ReturnType<Edge['instances']>>[number]];
  expect(Date.parse(status.startedAt!)).toBeGreaterThanOrEqual(
    Date.now() - (performance.now() - (await endedMs)),
  );
  await edge.start(before.node);
  await edge.ready();
  expect(await runs()).toEqual(after);
}, 90_000);

test('without a controller the copy ends by itself, and runs again when there is one', async () => {
  const before = await runs();
  await edge.kill('c');
  await ended(before, LEASE_OVER_MS);
  await edge.start('c');
  await edge.ready();
  const after = await runs();
  expect(after).toMatchObject({ uid: before.uid, node: before.node });
}, 90_000);
