// Guests that misbehave, all on one node at once: each is held in its bounds, the user sees the reason, the others go on.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Event, Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

let skerry: Program;
const folder = mkdtempSync(join(tmpdir(), 'skerry-guests-'));
beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  expect(await skerry.purge()).toEqual([]);
}, 90_000);

async function apply(name: string, spec: object): Promise<void> {
  const manifest = {
    apiVersion: 'skerry/v1',
    kind: 'Workload',
    metadata: { name },
    spec: {
      runtime: 'container',
      image: 'hello:1',
      resources: { memory: '16MiB', pids: 32 },
      stopGrace: '300ms',
      ...spec,
    },
  };
  const ran = await cli(['apply', '-f', '-'], {
    env: { SKERRY_DATA: skerry.dataDir },
    input: JSON.stringify(manifest),
  });
  expect(ran).toMatchObject({ code: 0 });
}
const shell = (script: string) => ['/bin/sh', '-c', script];
const instanceOf = async (name: string) => {
  const [found] = await skerry.json<Instance[]>('workload', 'instances', name);
  return found!;
};
const lastExit = (name: string, reason: string) =>
  eventually(
    `${name} ended: ${reason}`,
    async () => (await instanceOf(name)).status.exits.find((exit) => exit.reason === reason),
    { everyMs: 100 },
  );

test('one that crash-loops waits longer and longer, with its code and count', async () => {
  await apply('crash', { command: shell('echo last words of $$ >&2; exit 3') });
  const exit = await lastExit('crash', 'error');
  expect(exit.code).toBe(3);
  await eventually('it backs off', async () => {
    const { phase, restartCount } = (await instanceOf('crash')).status;
    return phase === 'backoff' && restartCount >= 2;
  });
  // Between two looks it may be tried just now.
  await eventually('the pause is shown', async () =>
    (await skerry.run('workload', 'show', 'crash')).includes('next try in'),
  );
  // of the run before, and of that alone
  expect(await skerry.run('workload', 'logs', 'crash', '--previous')).toMatch(/^last words of \d+\n$/);
});

test('restart policies are heeded', async () => {
  await apply('once', { command: shell('exit 0'), restart: 'on-failure' });
  await apply('never', { command: shell('exit 4'), restart: 'never' });
  await eventually(
    'one that is done is not started again',
    async () => (await instanceOf('once')).status.phase === 'stopped',
  );
  await eventually(
    'one that failed is failed',
    async () => (await instanceOf('never')).status.phase === 'failed',
  );
  expect((await instanceOf('never')).status.restartCount).toBe(0);
});

test('one that ignores SIGTERM is forced after its grace', async () => {
  await apply('deaf', { command: shell("trap '' TERM; while true; do sleep 1; done") });
  await eventually('it runs', async () => (await instanceOf('deaf')).status.phase === 'running');
  await skerry.run('workload', 'stop', 'deaf', '--wait');
  await lastExit('deaf', 'killed');
});

test('one that eats its memory is ended, and the user sees why', async () => {
  await apply('eater', { command: shell('x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done') });
  const exit = await lastExit('eater', 'oom');
  expect(exit.message).toMatch(/16MiB/);
  expect(await skerry.run('workload', 'show', 'eater')).toMatch(/oom/);
  const events = await skerry.json<Event[]>('event', 'list');
  expect(events.some((event) => event.reason === 'OutOfMemory' && event.about.name === 'eater-0')).toBe(true);
});

test('one that forks without end and one that writes without end harm nobody', async () => {
  await apply('good', {
    ports: [{ name: 'http', port: 8080 }],
    health: { http: { port: 8080, path: '/healthz' } },
  });
  await apply('fork', { command: shell('f() { f | f & f; }; f; while true; do sleep 1; done') });
  await apply('noise', {
    command: shell('yes 0123456789012345678901234567890123456789 | head -c 300000000; echo done; sleep 1000'),
  });
  await eventually(
    'the noise is over',
    async () => /done/.test(await skerry.run('workload', 'logs', 'noise', '--tail', '1')),
    { withinMs: 60_000, everyMs: 300 },
  );
  const size = Number.parseInt(
    execFileSync('du', ['-sb', join(skerry.dataDir, 'guests')], { encoding: 'utf8' }),
    10,
  );
  expect(size).toBeLessThan(16 * 1024 * 1024);
  const { network } = (await instanceOf('good')).spec;
  expect(await (await fetch(`http://${network!.address}:8080/healthz`)).text()).toBe('ok\n');
  expect((await instanceOf('good')).status.restartCount).toBe(0);
  await skerry.run('workload', 'delete', 'fork', 'noise');
});

test('one whose health check fails is restarted for that reason', async () => {
  await apply('sick', {
    ports: [{ name: 'http', port: 8080 }],
    health: { http: { port: 8080, path: '/missing' }, interval: '200ms', failures: 2, startPeriod: '300ms' },
  });
  const exit = await lastExit('sick', 'unhealthy');
  expect(exit.message).toMatch(/health check/);
});

test('an endless loop in a function is cut off and told, and its guest goes on', async () => {
  const path = join(folder, 'loop.js');
  writeFileSync(
    path,
    'exports.handle = (request) => { while (request.path === "/loop") {} return "well"; };\n',
  );
  await skerry.run('function', 'create', 'loop', '--from', path, '--wait');
  const { spec, status } = await instanceOf('loop');
  const url = `http://${spec.network!.address}:8080`;
  expect((await fetch(`${url}/loop`)).status).toBe(503);
  expect(await (await fetch(`${url}/`)).text()).toBe('well');
  process.kill(status.pid!, 'SIGKILL');
  await lastExit('loop', 'signal');
  await eventually('it runs again', async () => (await instanceOf('loop')).status.phase === 'running');
});

test('a function that does not load says why', async () => {
  const path = join(folder, 'broken.js');
  writeFileSync(path, 'exports.handle = () => 1;\nthrow new Error("no luck today");\n');
  await skerry.run('function', 'create', 'broken', '--from', path);
  await lastExit('broken', 'error');
  // It is tried again and again: the log of the last try is there until the next one begins.
  await eventually('its log says why', async () =>
    /no luck today/.test(await skerry.run('workload', 'logs', 'broken')),
  );
});

test('after all are deleted nothing of them is left', async () => {
  const names = (await skerry.json<{ metadata: { name: string } }[]>('workload', 'list')).map(
    (one) => one.metadata.name,
  );
  await skerry.run('workload', 'delete', ...names);
  expect(await skerry.json<unknown[]>('workload', 'instances')).toEqual([]);
  expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(skerry.id);
});
