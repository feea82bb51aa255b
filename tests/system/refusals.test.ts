// Wrong input, by the commands that a user types: each refusal names the line or the field, and nothing is half done.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

let skerry: Program;
const folder = mkdtempSync(join(tmpdir(), 'skerry-refusals-'));
beforeAll(async () => {
  skerry = await startProgram();
  await skerry.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  expect(await skerry.purge()).toEqual([]);
});

const workload = (lines: string) => `apiVersion: skerry/v1
kind: Workload
metadata: { name: wrong }
spec:
  runtime: container
  image: hello:1
${lines}`;
async function refused(manifest: string, code = 1): Promise<string> {
  const path = join(folder, 'wrong.yaml');
  writeFileSync(path, manifest);
  const ran = await skerry.try('apply', '-f', path);
  expect(ran.code, ran.stderr).toBe(code);
  expect(await skerry.json<unknown[]>('workload', 'list')).toEqual([]);
  expect(await skerry.json<unknown[]>('workload', 'instances')).toEqual([]);
  return ran.stderr;
}

test('an unknown field is named with its line and the one that was perhaps meant', async () => {
  expect(await refused(workload('  resources: { memroy: 64MiB }'))).toMatch(/wrong\.yaml:7.*memroy.*memory/s);
});

test('a wrong unit, a wrong type and broken YAML are named with their lines', async () => {
  expect(await refused(workload('  resources: { memory: 64 }'))).toMatch(/wrong\.yaml:7.*memory/s);
  expect(await refused(workload('  replicas: many'))).toMatch(/wrong\.yaml:7.*replicas/s);
  expect(await refused(workload('  ports: [{ name: http, port: 8080 '))).toMatch(/wrong\.yaml:\d/);
});

test('two documents of one name, and an unknown kind, are refused as a whole', async () => {
  const twice = `${workload('  replicas: 1')}\n---\n${workload('  replicas: 2')}`;
  expect(await refused(twice)).toMatch(/wrong\.yaml:\d+.*wrong/s);
  expect(
    await refused(
      `${workload('  replicas: 1')}\n---\napiVersion: skerry/v1\nkind: Wrokload\nmetadata: { name: x }\n`,
    ),
  ).toMatch(/Wrokload/);
});

test('an image that is not there, and one of the wrong kind, are refused with the remedy', async () => {
  expect(await refused(workload('').replace('hello:1', 'nothing:9'))).toMatch(
    /nothing:9.*image (import|pull)/s,
  );
  expect(await refused(workload('').replace('runtime: container', 'runtime: unikernel'))).toMatch(
    /container/,
  );
});

test('what does not fit is refused with the numbers', async () => {
  expect(await refused(workload('  resources: { memory: 64TiB }'))).toMatch(/64TiB.*GiB/s);
});

test('a port that something else listens on is refused or told of, by its number', async () => {
  const listener = createServer().listen(0, '0.0.0.0');
  await new Promise((resolve) => listener.once('listening', resolve));
  const { port } = listener.address() as AddressInfo;
  try {
    const path = join(folder, 'taken.yaml');
    writeFileSync(path, workload(`  ports: [{ name: http, port: 8080, publish: ${port} }]`));
    const ran = await skerry.try('apply', '-f', path, '--wait', '--timeout', '2s');
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(String(port));
  } finally {
    listener.close();
    await skerry.try('workload', 'delete', 'wrong');
  }
});

test('files that are no images are refused for what they are', async () => {
  const importing = async (path: string) => {
    const ran = await skerry.try('image', 'import', path, '--name', 'x:1');
    expect(ran.code).toBe(1);
    return ran.stderr;
  };
  expect(await importing('/bin/ls')).toMatch(/ordinary Linux program/);
  writeFileSync(join(folder, 'text'), 'no image');
  expect(await importing(join(folder, 'text'))).toMatch(/not recognised|neither|no image/);
  expect((await skerry.try('image', 'import', join(folder, 'missing'))).code).toBe(2);
  expect(await skerry.json<unknown[]>('image', 'list')).toHaveLength(1);
});

test('a function that can not be lowered is refused with its line', async () => {
  const path = join(folder, 'f.ts');
  writeFileSync(path, 'export function handle() {\n  return fetch("http://x");\n}\n');
  const ran = await skerry.try('function', 'create', 'f', '--from', path);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(/f\.ts:2/);
  expect(await skerry.json<unknown[]>('workload', 'list')).toEqual([]);
});

test('a command that is used wrongly ends with 2, and one without a program says how to start it', async () => {
  expect((await skerry.try('workload', 'shwo')).code).toBe(2);
  expect((await skerry.try('apply')).code).toBe(2);
  const none = await cli(['status'], { env: { SKERRY_DATA: join(folder, 'none') } });
  expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/skerry up/) });
});

test('a wait that takes too long says what it waits for, and takes nothing back', async () => {
  const path = join(folder, 'slow.yaml');
  writeFileSync(path, workload('  health: { tcp: { port: 9 } }').replace('wrong', 'slow'));
  const ran = await skerry.try('apply', '-f', path, '--wait', '--timeout', '1s');
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(/not done within 1 s: slow 0\/1 ready.*--timeout/s);
  expect(await skerry.json<unknown[]>('workload', 'list')).toHaveLength(1);
  await skerry.run('delete', '-f', path);
});

test('a change that a guest does not notice is planned as one', async () => {
  const path = join(folder, 'calm.yaml');
  const ports = (publish: string) =>
    workload(`  ports: [{ name: http, port: 8080${publish} }]`).replace('wrong', 'calm');
  writeFileSync(path, ports(''));
  await skerry.run('apply', '-f', path, '--wait');
  writeFileSync(path, ports(', publish: 39471'));
  expect(await skerry.run('plan', '-f', path)).toMatch(/update instance calm-0 while it runs: ports changed/);
  writeFileSync(path, ports('').replace('port: 8080', 'port: 8081'));
  expect(await skerry.run('plan', '-f', path)).toMatch(/replace instance calm-0: ports changed/);
  await skerry.run('delete', '-f', path);
});
