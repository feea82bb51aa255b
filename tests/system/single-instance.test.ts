// A controller and two agents, with real guests: what is a single instance never runs twice, whatever is killed or hangs.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, type ProcessRef, processRef } from '@skerry/host';
import type { Instance, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leftoversOf } from '../support/leftovers.ts';
import { ROOT, skerry } from '../support/program.ts';

const LOST_AFTER = '2s';
/** A lease is a little shorter: long enough for a program that is started again on a slow machine. */
const REPLACE_AFTER = '9s';
const LEASE_OVER_MS = 9000;
const folder = mkdtempSync(join(tmpdir(), 'skerry-single-'));
const dirOf = (name: string) => join(folder, name);
const run = async (name: string, args: string[], input?: string) => {
  const env = { SKERRY_DATA: dirOf(name), SKERRY_SERVER: '', NO_COLOR: '1' };
  const ran = await skerry(args, { env, ...(input === undefined ? {} : { input }) });
  if (ran.code !== 0) throw new Error(`${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
  return ran.stdout;
};
const json = async <T>(...args: string[]) => JSON.parse(await run('c', [...args, '--output', 'json'])) as T;
const programOf = (name: string): ProcessRef =>
  (JSON.parse(readFileSync(join(dirOf(name), 'skerry.pid'), 'utf8')) as { process: ProcessRef }).process;
const kill = async (name: string) => {
  const program = programOf(name);
  process.kill(program.pid, 'SIGKILL');
  await eventually('it is gone', () => !isAlive(program));
};
const start = (name: string) =>
  name === 'c'
    ? run('c', ['controller', '--listen', `127.0.0.1:${port}`, '--lost-after', LOST_AFTER, '--detach'])
    : run(name, ['agent', '--detach']);
const ready = () =>
  eventually('both nodes are ready', async () =>
    (await json<Node[]>('node', 'list')).every(({ status }) => status.phase === 'ready'),
  );

let port = '0';
interface Running {
  readonly node: string;
  readonly uid: string;
  readonly guest: ProcessRef;
}
async function look(): Promise<Running | undefined> {
  const [one] = await json<Instance[]>('workload', 'instances');
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
  await start('c');
  const token = async (name: string) => (await run('c', ['node', 'token', '--name', name])).trim();
  const [server] = JSON.parse(
    Buffer.from((await token('probe')).slice('skerry-join-'.length), 'base64url').toString(),
  ) as [string];
  port = new URL(`https://${server}`).port;
  for (const name of ['north', 'south']) await run(name, ['agent', '--join', await token(name), '--detach']);
  await ready();
  await run('c', ['image', 'import', join(ROOT, 'guests/hello/build/hello.tar')]);
  const manifest = {
    ...{ apiVersion: 'skerry/v1', kind: 'Workload', metadata: { name: 'one' } },
    spec: {
      ...{ runtime: 'container', image: 'hello:1', singleInstance: true, stopGrace: '500ms' },
      placement: { replaceAfter: REPLACE_AFTER },
    },
  };
  await run('c', ['apply', '-f', '-', '--wait'], JSON.stringify(manifest));
}, 120_000);

afterAll(async () => {
  const left: string[] = [];
  for (const name of ['north', 'south', 'c']) {
    const { id } = JSON.parse(readFileSync(join(dirOf(name), 'identity.json'), 'utf8')) as { id: string };
    await run(name, ['down', '--purge', '--yes']);
    left.push(...leftoversOf(id, dirOf(name)));
  }
  rmSync(folder, { recursive: true, force: true });
  expect(left).toEqual([]);
}, 120_000);

test('an agent or a controller that is killed and started again at once is missed by nobody', async () => {
  const before = await runs();
  await kill(before.node);
  await start(before.node);
  const reached = () =>
    eventually('the agent is reached', () =>
      run('c', ['workload', 'exec', 'one', '--', '/bin/busybox', 'true']),
    );
  await reached();
  expect(await runs()).toEqual(before);
  await kill('c');
  await start('c');
  await reached();
  expect(await runs()).toEqual(before);
}, 60_000);

test('an agent that hangs does not keep its copy alive beyond the lease, and gets it back when it goes on', async () => {
  const before = await runs();
  const agent = programOf(before.node);
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
  await kill(before.node);
  const endedMs = ended(before, LEASE_OVER_MS);
  const after = await runs(({ node }) => node !== before.node);
  const seenMs = performance.now();
  expect(after.uid).not.toBe(before.uid);
  expect(await endedMs).toBeLessThan(seenMs);
  const [{ status }] = (await json<Instance[]>('workload', 'instances')) as [Instance];
  expect(Date.parse(status.startedAt!)).toBeGreaterThanOrEqual(
    Date.now() - (performance.now() - (await endedMs)),
  );
  await start(before.node);
  await ready();
  expect(await runs()).toEqual(after);
}, 90_000);

test('without a controller the copy ends by itself, and runs again when there is one', async () => {
  const before = await runs();
  await kill('c');
  await ended(before, LEASE_OVER_MS);
  await start('c');
  await ready();
  const after = await runs();
  expect(after).toMatchObject({ uid: before.uid, node: before.node });
}, 90_000);
