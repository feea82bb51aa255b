// The command line itself: wrong input, output for programs, completion, pipes, Ctrl-C. No guest is needed for it.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Workload } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Program, ROOT, spawnSkerry, startProgram } from '../support/program.ts';

const run = promisify(execFile);
let skerry: Program;
const folder = mkdtempSync(join(tmpdir(), 'skerry-cli-'));
const LONG = `long-${'x'.repeat(57)}`;

beforeAll(async () => {
  skerry = await startProgram({ args: ['--sim'] });
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
  await skerry.run('volume', 'create', 'pages', '--size', '1MiB');
  await skerry.run('volume', 'create', LONG, '--size', '1MiB');
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  expect(await skerry.purge()).toEqual([]);
});

const workload = (name: string, spec: string) =>
  `apiVersion: skerry/v1\nkind: Workload\nmetadata: { name: ${name} }\nspec:\n  runtime: container\n  ${spec}\n`;

/** A command in a shell, with `skerry` on its path. */
async function shell(text: string): Promise<string> {
  const path = `${join(ROOT, 'bin')}:${process.env.PATH}`;
  const env = { ...process.env, PATH: path, SKERRY_DATA: skerry.dataDir, SKERRY_SERVER: '' };
  return (await run('/bin/bash', ['-c', text], { env, timeout: 60_000 })).stdout;
}

describe('wrong input', () => {
  test.each([
    [['apply', '-f', 'x', '--timeout', 'soon'], /--timeout.*soon.*5s/s],
    [['event', 'list', '--since', 'x'], /--since.*whole number/s],
    [['workload', 'logs', 'x', '--tail', '-1'], /--tail.*whole number/s],
    [['function', 'create', 'x', '--from', 'y', '--replicas', 'two'], /--replicas.*whole number/s],
    [['function', 'create', 'x', '--from', 'y', '--publish', '99999'], /--publish.*65535/s],
    [['function', 'create', 'x', '--from', 'y', '--memory', 'lots'], /--memory.*64MiB/s],
    [['volume', 'create', 'x', '--size', '1parsec'], /--size.*64MiB/s],
    [['lab', 'change', 'x', '--loss', '3'], /--loss.*30%/s],
    [['lab', 'change', 'x', '--bandwidth', '3'], /--bandwidth.*100Mbit/s],
    [['node', 'token', '--valid', '3'], /--valid.*5s/s],
    [['-o', 'xml', 'node', 'list'], /xml.*table, json, yaml/s],
    [['--server', 'nonsense', 'node', 'list'], /nonsense.*https:/s],
    [['wrkload', 'list'], /Did you mean workload/],
    [['workload', 'lst'], /Did you mean list/],
    [['workload', 'list', '--outptu', 'json'], /Did you mean --output/],
    [['apply'], /--file/],
    [['apply', '-f', '/no/such/file.yaml'], /file\.yaml.*no such file/s],
    [['image', 'import', '/no/such/file.tar'], /file\.tar.*no such file/s],
    [['completion', 'tcsh'], /bash, zsh, fish/],
    [['--data', join(folder, 'new'), 'agent', '--detach'], /joined no controller.*skerry node token/s],
  ])('%j is told what is wrong, and ends with 2', async (args, words) => {
    const ran = await skerry.try(...args);
    expect(ran.stderr).toMatch(words);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
  });

  test.each([
    [['volume', 'show', 'page'], /no volume "page" \(did you mean "pages"\?\)/],
    [['image', 'show', 'helo:1'], /no image "helo:1".*did you mean "hello:1"/],
    [['node', 'show', 'locla'], /no node "locla".*did you mean "local"/],
    [['--project', 'defualt', 'workload', 'list'], /no project "defualt".*did you mean "default"/],
    [['apply', '-f', '@image'], /spec\.image: there is no image "helo:1" \(did you mean "hello:1"\?\)/s],
    [['workload', 'stats', 'nothing'], /no workload "nothing"/],
    [['workload', 'instances', 'nothing'], /no workload "nothing"/],
    [['workload', 'logs', 'nothing'], /no workload "nothing"/],
    [['client', 'move', 'nobody', 'nowhere'], /no client "nobody"/],
  ])('%j names what is not there, and what was perhaps meant, and ends with 1', async (given, words) => {
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, workload('wrong', 'image: helo:1'));
    const ran = await skerry.try(...given.map((word) => (word === '@image' ? file : word)));
    expect(ran.stderr).toMatch(words);
    expect(ran.code).toBe(1);
  });
});

describe('output for programs', () => {
  test('lists, single things and what was done are JSON and YAML, and nothing else is on stdout', async () => {
    expect(await skerry.json<unknown>('volume', 'show', 'pages')).toMatchObject({
      metadata: { name: 'pages' },
    });
    expect(await skerry.json<unknown>('project', 'show', 'default')).toMatchObject({ kind: 'Project' });
    await skerry.run('volume', 'create', 'short', '--size', '1MiB');
    expect(await skerry.json<unknown>('volume', 'delete', 'short')).toEqual([
      { kind: 'Volume', name: 'short', outcome: 'deleted' },
    ]);
    expect(await skerry.run('workload', 'list', '-o', 'yaml')).toBe('[]\n');
    expect(await skerry.run('volume', 'show', 'pages', '-o', 'yaml')).toMatch(/^apiVersion: skerry\/v1$/m);
  });

  test('no items: a word on stderr, nothing on stdout', async () => {
    for (const group of ['workload', 'access-point', 'operation']) {
      const ran = await skerry.try(group, 'list');
      expect(ran).toMatchObject({ code: 0, stdout: '' });
      expect(ran.stderr).toMatch(/^no /);
      expect(await skerry.try(group, 'list', '--quiet')).toMatchObject({ stderr: '', stdout: '' });
      expect(await skerry.json<unknown>(group, 'list')).toEqual([]);
    }
  });

  test('a reader that goes away is no failure, and a long name is whole where no terminal cuts it', async () => {
    const said = await shell('set -o pipefail; skerry volume list | head -n 1; echo "$?"');
    expect(said).toMatch(/^NAME.*\n0\n$/);
    expect(await skerry.run('volume', 'list')).toContain(LONG);
  });

  test('on a terminal of 80 columns a long name leaves room for the others', async () => {
    const said = await run(
      'script',
      ['-qec', `stty cols 80; ${join(ROOT, 'bin/skerry')} volume list`, '/dev/null'],
      { env: { ...process.env, SKERRY_DATA: skerry.dataDir, SKERRY_SERVER: '' } },
    );
    const lines = said.stdout.split('\r\n');
    expect(lines[0]).toMatch(/NAME.*SIZE.*PHASE.*AGE/);
    expect(lines.find((line) => line.startsWith('long-'))).toMatch(/…\s+1MiB/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });
});

describe('completion', () => {
  const complete = async (...words: string[]) =>
    (await skerry.run('complete', '--', ...words)).split('\n').filter(Boolean);

  test('commands, options, choices and names are offered', async () => {
    expect(await complete('')).toEqual(expect.arrayContaining(['apply', 'doctor', 'workload']));
    expect(await complete('-o', 'json', 'workload', '')).toEqual(expect.arrayContaining(['list', 'exec']));
    expect(await complete('-o', '')).toEqual(['table', 'json', 'yaml']);
    expect(await complete('--output=')).toEqual(['--output=table', '--output=json', '--output=yaml']);
    expect(await complete('workload', 'logs', '--')).toEqual(expect.arrayContaining(['--tail', '--output']));
    expect(await complete('image', 'show', '')).toEqual(['hello:1']);
    expect(await complete('volume', 'delete', 'pages', '')).toEqual([LONG]);
    expect(await complete('--project', '')).toEqual(['default']);
    expect(await complete('workload', 'exec', 'web', '--', '')).toEqual([]);
    expect(await complete('access-point', 'import', '--format', '')).toEqual(['geojson', 'csv']);
  });

  test('options that were typed hold: another data folder is asked', async () => {
    expect(await complete('--data', '/no/such/folder', 'image', 'show', '')).toEqual([]);
  });

  test('bash takes it, also where a name has a colon', async () => {
    const typed = (line: string) =>
      shell(
        `source <(skerry completion bash); COMP_LINE='${line}'; COMP_POINT=\${#COMP_LINE}; _skerry; echo "\${COMPREPLY[*]}"`,
      );
    expect(await typed('skerry wor')).toBe('workload\n');
    expect(await typed('skerry image show hel')).toBe('hello:1\n');
    expect(await typed('skerry image show hello:')).toBe('1\n');
    expect(await typed('skerry node list --output=y')).toBe('yaml\n');
  });
});

test('Ctrl-C while it waits: 130, a word of what goes on, and it goes on', async () => {
  const file = join(folder, 'slow.yaml');
  const never = `health: { tcp: { port: 9 } }`;
  writeFileSync(file, workload('slow', `image: hello:1\n  stopGrace: 200ms\n  ${never}`));
  const child = spawnSkerry(['apply', '-f', file, '--wait'], {
    SKERRY_DATA: skerry.dataDir,
    SKERRY_SERVER: '',
  });
  let stderr = '';
  child.stderr!.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await eventually('it waits', async () => stderr.includes('slow'));
  child.kill('SIGINT');
  expect(await ended).toBe(130);
  expect(stderr).toMatch(/interrupted; what was asked for goes on/);
  const [slow] = await skerry.json<Workload[]>('workload', 'list');
  expect(slow!.metadata.name).toBe('slow');
  await skerry.run('workload', 'delete', 'slow');
});
