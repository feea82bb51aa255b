// The same manifest on a Docker or Podman engine, through the whole program: network, published port, commands, an engine that goes away.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startDockerd } from '../../packages/runtimes/src/docker/testing/dockerd.ts';
import type { PrivateEngine } from '../../packages/runtimes/src/docker/testing/engine.ts';
import { startPodman } from '../../packages/runtimes/src/docker/testing/podman.ts';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

const withPort = (port: number) =>
  readFileSync(join(ROOT, 'examples/spine.yaml'), 'utf8')
    .split('\n---\n')[0]!
    .replace('port: 8080 }]', `port: 8080, publish: ${port} }]`);

describe.each([
  { name: 'Docker', begin: startDockerd, chosen: (socket: string) => ['--docker', socket], port: 39_482 },
  {
    name: 'Podman',
    begin: startPodman,
    chosen: (socket: string) => ['--engine', `podman:${socket}`],
    port: 39_483,
  },
])('$name', ({ name, begin, chosen, port }) => {
  let engine: PrivateEngine;
  let skerry: Program;
  const instance = async () => (await skerry.json<Instance[]>('workload', 'instances', 'hello'))[0]!;

  beforeAll(async () => {
    engine = await begin();
    skerry = await startProgram({ args: chosen(engine.socketPath) });
    await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
    const applied = await cli(['apply', '-f', '-', '--wait'], {
      env: { SKERRY_DATA: skerry.dataDir },
      input: withPort(port),
    });
    expect(applied).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    expect(await skerry.purge()).toEqual([]);
    await engine.end();
  });

  test('the guest is on the node network, has its port published, and takes commands', async () => {
    const { spec } = await instance();
    const own = await fetch(`http://${spec.network!.address}:8080/cgi-bin/whoami`);
    expect(await own.text()).toBe('hello-0 says hello\n');
    const published = await fetch(`http://127.0.0.1:${port}/healthz`);
    expect(await published.text()).toBe('ok\n');
    expect(await skerry.run('workload', 'exec', 'hello', '--', '/bin/hostname')).toBe('hello-0\n');
  });

  test('doctor names the engine, its version, and whether tests ran on such a one', async () => {
    const said = await skerry.run('doctor');
    expect(said).toMatch(new RegExp(`ok +container +containers run on the ${name} engine \\d+\\.\\d+`));
    expect(said).toMatch(/ok +container\.proved +(tests ran on|no test ran on)/);
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
    await engine.kill();
    expect((await fetch(`http://${address}:8080/healthz`)).ok).toBe(true);
    await eventually('the reason is shown', async () =>
      (await instance()).status.reason?.includes('does not answer'),
    );
    await engine.start();
    await eventually('it is looked after', async () => (await instance()).status.reason === undefined);
    expect((await instance()).status.pid).toBe(pid);
    process.kill(pid!, 'SIGKILL');
    await eventually('it is started again', async () => {
      const { status } = await instance();
      return status.phase === 'running' && status.pid !== pid && status.pid !== undefined;
    });
  });
});
