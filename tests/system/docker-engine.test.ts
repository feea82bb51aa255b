// The same manifest on a Docker engine, through the whole program: network, published port, commands, an engine that goes away.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PrivateDockerd, startDockerd } from '../../packages/runtimes/src/docker/testing/dockerd.ts';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

let dockerd: PrivateDockerd;
let skerry: Program;
const PUBLISHED = 39_482;
const hello = readFileSync(join(ROOT, 'examples/spine.yaml'), 'utf8')
  .split('\n---\n')[0]!
  .replace('port: 8080 }]', `port: 8080, publish: ${PUBLISHED} }]`);
const instance = async () => (await skerry.json<Instance[]>('workload', 'instances', 'hello'))[0]!;

beforeAll(async () => {
  dockerd = await startDockerd();
  skerry = await startProgram({ args: ['--docker', dockerd.socketPath] });
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  const applied = await cli(['apply', '-f', '-', '--wait'], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: hello,
  });
  expect(applied).toMatchObject({ code: 0 });
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
  await dockerd.end();
});

test('the guest is on the node network, has its port published, and takes commands', async () => {
  const { spec } = await instance();
  const own = await fetch(`http://${spec.network!.address}:8080/cgi-bin/whoami`);
  expect(await own.text()).toBe('hello-0 says hello\n');
  const published = await fetch(`http://127.0.0.1:${PUBLISHED}/healthz`);
  expect(await published.text()).toBe('ok\n');
  expect(await skerry.run('workload', 'exec', 'hello', '--', '/bin/hostname')).toBe('hello-0\n');
});

test('doctor names the engine', async () => {
  expect(await skerry.run('doctor')).toMatch(/containers run on the Docker engine/);
});

test('kill -9 of the program does not touch it', async () => {
  const before = (await instance()).status.pid;
  await skerry.kill();
  await skerry.up();
  await eventually('it is found', async () => (await instance()).status.phase === 'running');
  expect((await instance()).status.pid).toBe(before);
});

test('an engine that goes away and returns: the guest goes on, and is looked after again', async () => {
  const { pid } = (await instance()).status;
  const { address } = (await instance()).spec.network!;
  await dockerd.kill();
  expect((await fetch(`http://${address}:8080/healthz`)).ok).toBe(true);
  await eventually('the reason is shown', async () =>
    (await instance()).status.reason?.includes('does not answer'),
  );
  await dockerd.start();
  await eventually('it is looked after', async () => (await instance()).status.reason === undefined);
  expect((await instance()).status.pid).toBe(pid);
  process.kill(pid!, 'SIGKILL');
  await eventually('it is started again', async () => {
    const { status } = await instance();
    return status.phase === 'running' && status.pid !== pid && status.pid !== undefined;
  });
});
