// A controller and two agents, each with its own data folder: joining, guests on both, what is asked on demand, and parts
// that are killed.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Event, Instance, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leftoversOf } from '../support/leftovers.ts';
import { ROOT, skerry } from '../support/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-nodes-'));
const dirOf = (name: string) => join(folder, name);
const run = async (name: string, ...args: string[]) => {
  const ran = await skerry(args, { env: { SKERRY_DATA: dirOf(name), SKERRY_SERVER: '', NO_COLOR: '1' } });
  if (ran.code !== 0) throw new Error(`${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
  return ran.stdout;
};
const fails = (name: string, ...args: string[]) =>
  skerry(args, { env: { SKERRY_DATA: dirOf(name), SKERRY_SERVER: '', NO_COLOR: '1' } });
const json = async <T>(...args: string[]) => JSON.parse(await run('c', ...args, '--output', 'json')) as T;
const pidOf = (name: string) =>
  (JSON.parse(readFileSync(join(dirOf(name), 'skerry.pid'), 'utf8')) as { process: { pid: number } }).process
    .pid;
const killed = async (name: string) => {
  const pid = pidOf(name);
  process.kill(pid, 'SIGKILL');
  await eventually('it is gone', () => {
    try {
      return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return true;
    }
  });
};
const ready = (count: number) =>
  eventually(`${count} nodes are ready`, async () => {
    const nodes = await json<Node[]>('node', 'list');
    return nodes.filter((node) => node.status.phase === 'ready').length === count;
  });
const hostnames = (workload: string, times: number) =>
  Array.from({ length: times }, () =>
    run('c', 'workload', 'exec', workload, '--', '/bin/busybox', 'hostname'),
  );

let port: string;
const startController = () => run('c', 'controller', '--listen', `127.0.0.1:${port}`, '--detach');
const token = async (...options: string[]) => (await run('c', 'node', 'token', ...options)).trim();
let spent: string;

beforeAll(async () => {
  port = '0';
  await startController();
  port = new URL(`https://${await addressOfController()}`).port;
  spent = await token('--name', 'north');
  await run('north', 'agent', '--join', spent, '--detach');
  await run('south', 'agent', '--join', await token(), '--name', 'south', '--detach');
  await ready(2);
  await run('c', 'image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await run('c', 'image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
}, 120_000);

/** The first part of what a token says. */
async function addressOfController(): Promise<string> {
  const text = await token();
  return (JSON.parse(Buffer.from(text.slice('skerry-join-'.length), 'base64url').toString()) as string[])[0]!;
}

const statusOf = (path: string, tls: { key?: Buffer; cert?: Buffer } = {}) =>
  new Promise<number | undefined>((resolve, reject) =>
    request(
      { ...{ host: '127.0.0.1', port, path, rejectUnauthorized: false, agent: false }, ...tls },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    )
      .on('error', reject)
      .end(),
  );

afterAll(async () => {
  const left: string[] = [];
  for (const name of ['north', 'south', 'c']) {
    const { id } = JSON.parse(readFileSync(join(dirOf(name), 'identity.json'), 'utf8')) as { id: string };
    await run(name, 'down', '--purge', '--yes');
    left.push(...leftoversOf(id, dirOf(name)));
  }
  rmSync(folder, { recursive: true, force: true });
  expect(left).toEqual([]);
}, 120_000);

const spread = {
  apiVersion: 'skerry/v1',
  kind: 'Workload',
  metadata: { name: 'hello' },
  spec: {
    runtime: 'container',
    image: 'hello:1',
    replicas: 2,
    health: { http: { port: 8080, path: '/healthz' } },
  },
};

test('guests run on both nodes, from images that only the controller had', async () => {
  const applied = await skerry(['apply', '-f', '-', '--wait'], {
    env: { SKERRY_DATA: dirOf('c') },
    input: JSON.stringify(spread),
  });
  expect(applied).toMatchObject({ code: 0 });
  const instances = await json<Instance[]>('workload', 'instances');
  expect(instances.map(({ spec }) => spec.node).sort()).toEqual(['north', 'south']);
  for (const { status, metadata } of instances)
    expect(await (await fetch(`http://${status.address}:8080/cgi-bin/whoami`)).text()).toContain(
      metadata.name,
    );
  const said = await Promise.all(hostnames('hello', 6));
  expect(new Set(said)).toEqual(new Set(['hello-0\n']));
});

test('a token is good for one machine; one that is wrong, or of another controller, tells nothing', async () => {
  const again = await fails('third', 'agent', '--join', spent, '--name', 'third', '--detach');
  expect(again).toMatchObject({ code: 1 });
  expect(again.stderr).toContain('another machine has used it');
  const taken = await fails('fourth', 'agent', '--join', await token(), '--name', 'north', '--detach');
  expect(taken.stderr).toContain('there is a node "north" already');
  const [server, id, secret] = JSON.parse(
    Buffer.from((await token()).slice('skerry-join-'.length), 'base64url').toString(),
  ) as string[];
  const other = `skerry-join-${Buffer.from(JSON.stringify([server, id, secret, 'x'.repeat(43)])).toString('base64url')}`;
  expect((await fails('fifth', 'agent', '--join', other, '--name', 'fifth', '--detach')).stderr).toContain(
    'is not the controller that made the token',
  );
  expect((await json<Node[]>('node', 'list')).map(({ metadata }) => metadata.name)).toEqual([
    'north',
    'south',
  ]);
});

test('whoever has no certificate of a node does not come in', async () => {
  for (const path of ['session', `images/sha256:${'0'.repeat(64)}`, `blobs/sha256:${'0'.repeat(64)}`])
    expect(await statusOf(`/v1/agent/${path}`)).toBe(401);
  const { key, cert } = {
    key: readFileSync(join(dirOf('north'), 'agent/node.key')),
    cert: readFileSync(join(dirOf('north'), 'agent/node.crt')),
  };
  expect(await statusOf(`/v1/agent/images/sha256:${'0'.repeat(64)}`, { key, cert })).toBe(422);
  expect(await statusOf('/v1/agent/../workloads', { key, cert })).toBe(404);
  // It is the certificate of a node, not of a user.
  expect(await statusOf('/v1/status', { key, cert })).toBe(401);
});

test('a copy of a data folder is turned away while the node is there', async () => {
  mkdirSync(dirOf('copy'));
  cpSync(join(dirOf('north'), 'agent'), join(dirOf('copy'), 'agent'), { recursive: true });
  await run('copy', 'agent', '--detach');
  await eventually('it is told', async () =>
    (await json<Event[]>('event', 'list')).some(({ reason }) => reason === 'SecondAgent'),
  );
  const pids = (await json<Instance[]>('workload', 'instances')).map(({ status }) => status.pid);
  await Promise.all(hostnames('hello', 2));
  const { id } = JSON.parse(readFileSync(join(dirOf('copy'), 'identity.json'), 'utf8')) as { id: string };
  await run('copy', 'down', '--purge', '--yes');
  expect(leftoversOf(id, dirOf('copy'))).toEqual([]);
  expect((await json<Instance[]>('workload', 'instances')).map(({ status }) => status.pid)).toEqual(pids);
}, 60_000);

test('a controller that is killed is missed by nobody, and finds all again', async () => {
  const before = await json<Instance[]>('workload', 'instances');
  await killed('c');
  await startController();
  await ready(2);
  await eventually('both agents are there again', async () => {
    const answers = await Promise.all(['north', 'south'].map((node) => run('c', 'node', 'show', node)));
    return answers.length === 2;
  });
  await eventually('a command runs', () => hostnames('hello', 1)[0]);
  for (let i = 0; i < 3; i++) await Promise.all(hostnames('hello', 3));
  const after = await json<Instance[]>('workload', 'instances');
  expect(after.map(({ status }) => status.pid)).toEqual(before.map(({ status }) => status.pid));
}, 120_000);

test('an agent that is killed comes back to its guests', async () => {
  const before = await json<Instance[]>('workload', 'instances');
  for (const name of ['north', 'south']) {
    await killed(name);
    await run(name, 'agent', '--detach');
  }
  await eventually('a command runs', () => hostnames('hello', 1)[0]);
  const after = await json<Instance[]>('workload', 'instances');
  expect(after.map(({ status }) => [status.pid, status.phase])).toEqual(
    before.map(({ status }) => [status.pid, 'running']),
  );
}, 120_000);
