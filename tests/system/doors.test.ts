// HTTPS beside the socket: only with the token, only with the right authority; no secret where it could be seen. And every
// example applies, becomes ready and goes.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

let skerry: Program;
let url: string;
const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
beforeAll(async () => {
  const port = await freePort();
  url = `https://127.0.0.1:${port}`;
  skerry = await startProgram({ args: ['--listen', `127.0.0.1:${port}`] });
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  const machine = (file: string) => join(ROOT, 'guests/vm-linux/build', file);
  await skerry.run('image', 'import', machine('vmlinuz'), '--name', 'harbour-kernel:1');
  await skerry.run('image', 'import', machine('initrd'), '--name', 'harbour-initrd:1');
  await skerry.run(
    'image',
    'import',
    join(ROOT, 'guests/system-busybox/build/rootfs.tar'),
    '--name',
    'lighthouse:1',
  );
  await skerry.run('image', 'import', join(ROOT, 'guests/vm-linux/build/disk.qcow2'), '--name', 'harbour:1');
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
});
afterAll(async () => {
  expect(await skerry.purge()).toEqual([]);
});
const token = () => readFileSync(join(skerry.dataDir, 'tls/token'), 'utf8').trim();

test('with the token and the authority of the data folder the same commands work over HTTPS', async () => {
  const ran = await cli(['status', '--server', url], { env: { SKERRY_DATA: skerry.dataDir } });
  expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 ready') });
});

test('folders are taken as files are: an OCI layout names itself, a root file system is given a name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-folders-'));
  try {
    const unpack = (archive: string, name: string) => {
      mkdirSync(join(folder, name));
      const options = ['--extract', '--exclude=./dev/*', `--directory=${join(folder, name)}`];
      execFileSync('tar', [...options, '--file', join(ROOT, 'guests', archive)]);
      return join(folder, name);
    };
    expect(await skerry.run('image', 'import', unpack('hello/build/hello.tar', 'layout'))).toMatch(
      /image\/hello:1: container/,
    );
    const tree = unpack('system-busybox/build/rootfs.tar', 'tree');
    const over = await cli(['image', 'import', tree, '--name', 'tree:1', '--server', url], {
      env: { SKERRY_DATA: skerry.dataDir },
    });
    expect(over).toMatchObject({ code: 0, stdout: expect.stringMatching(/image\/tree:1: rootfs/) });
    mkdirSync(join(folder, 'empty'));
    const empty = await skerry.try('image', 'import', join(folder, 'empty'));
    expect(empty).toMatchObject({ code: 1, stderr: expect.stringContaining('neither an OCI layout') });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('without the token, with a wrong one, or with an authority that is not known, nothing is answered', async () => {
  const ca = join(skerry.dataDir, 'tls/ca.crt');
  const wrong = await cli(['status', '--server', url], {
    env: { SKERRY_DATA: '/nonexistent', SKERRY_TOKEN: 'wrong', SKERRY_CA: ca },
  });
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('unauthenticated') });
  const none = await cli(['status', '--server', url], { env: { SKERRY_DATA: '/nonexistent' } });
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('unauthenticated') });
  const stranger = await cli(['status', '--server', url], {
    env: { SKERRY_DATA: '/nonexistent', SKERRY_TOKEN: token() },
  });
  expect(stranger.code).toBe(1);
  expect(stranger.stderr).not.toContain(token());
});

test('the token and the keys are in no log and in no argument, and open to their owner alone', async () => {
  expect(readFileSync(join(skerry.dataDir, 'skerry.log'), 'utf8')).not.toContain(token());
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(token());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error; // the process ended meanwhile
    }
  }
  const { statSync } = await import('node:fs');
  for (const name of readdirSync(join(skerry.dataDir, 'tls')).filter((one) => /key|token/.test(one))) {
    expect(statSync(join(skerry.dataDir, 'tls', name)).mode & 0o077, name).toBe(0);
  }
  expect(statSync(join(skerry.dataDir, 'api.sock')).mode & 0o077).toBe(0);
});

/** Its images are built for its own test, which applies it: several-systems.test.ts. */
const ELSEWHERE = ['several-systems.yaml'];
const examples = readdirSync(join(ROOT, 'examples')).filter(
  (name) => name.endsWith('.yaml') && !ELSEWHERE.includes(name),
);
test.each(examples)(
  'the example %s applies, becomes ready, is unchanged when applied again, and goes',
  async (name) => {
    const file = join(ROOT, 'examples', name);
    const images = ['image', 'import', join(ROOT, 'guests/hello/build/hello.tar')];
    const first = await skerry.try('apply', '-f', file, '--wait');
    if (first.code !== 0) {
      // Its project is new: it has no images yet.
      const project = /project: (\w+)/.exec(readFileSync(file, 'utf8'))?.[1];
      expect(project, first.stderr).toBeDefined();
      await skerry.run('project', 'create', project!);
      await skerry.run(...images, '--project', project!);
      await skerry.run('apply', '-f', file, '--wait');
    }
    expect(await skerry.run('apply', '-f', file)).not.toMatch(/ (created|changed)\n/);
    if (name === 'project.yaml') {
      // A project goes only when it is empty: its image first, and before that what runs of it.
      await skerry.run('workload', 'delete', 'crane', '--project', 'harbour');
      await skerry.run('image', 'delete', 'hello:1', '--project', 'harbour');
    }
    const deleted = await skerry.try('delete', '-f', file);
    expect(deleted.code, deleted.stderr).toBe(0);
  },
);
