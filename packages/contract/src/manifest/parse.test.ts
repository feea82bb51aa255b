import { SkerryError } from '@skerry/model';
import { expect, test } from 'vitest';
import { parseManifests } from './parse.ts';
import type { ManifestProblem } from './problem.ts';

function errorsOf(text: string): ManifestProblem[] {
  try {
    parseManifests(text);
  } catch (error) {
    expect(error).toBeInstanceOf(SkerryError);
    expect((error as SkerryError).code).toBe('manifest_invalid');
    return (error as SkerryError).details.errors as ManifestProblem[];
  }
  throw new Error('accepted');
}

const good = `# a comment
apiVersion: skerry/v1
kind: Workload
metadata: { name: hello, labels: { app: hello } }
spec:
  runtime: container
  image: hello:1
  resources: { cpus: 0.5, memory: 64MiB }
---
apiVersion: skerry/v1
kind: Project
metadata: { name: shop }
spec: {}
---
`;

test('a manifest of several documents is read, each with its line and its project', () => {
  const parsed = parseManifests(good, { project: 'lab' });
  expect(
    parsed.map(({ line, project, manifest }) => [line, project, manifest.kind, manifest.metadata.name]),
  ).toEqual([
    [2, 'lab', 'Workload', 'hello'],
    [10, undefined, 'Project', 'shop'],
  ]);
});

test('JSON is read as well, on the quick way and with lines when it is wrong', () => {
  const object = {
    apiVersion: 'skerry/v1',
    kind: 'Volume',
    metadata: { name: 'data' },
    spec: { size: '1GiB' },
  };
  expect(parseManifests(JSON.stringify(object))[0]!.manifest).toEqual(object);
  const wrong = JSON.stringify({ ...object, spec: { sise: '1GiB' } }, null, 1);
  expect(errorsOf(wrong)).toEqual([
    { line: 7, field: 'spec.size', message: 'is missing' },
    { line: 8, field: 'spec.sise', message: 'unknown field "sise" (did you mean "size"?)' },
  ]);
});

test('all errors are named at once, each with field and line', () => {
  const errors = errorsOf(`apiVersion: skerry/v1
kind: Workload
metadata:
  name: Hello_World
  labels: { "-bad": x }
spec:
  runtime: contaner
  image: hello:1
  replicas: 2.5
  resources:
    memroy: 64MiB
    disk: 64
    memory: 64MB/s
  env: { "1X": "a" }
  ports:
    - { name: http, port: 70000 }
    - { name: http, port: 80, publish: 8080, x: 1 }
`);
  const at = Object.fromEntries(errors.map((error) => [error.field, error]));
  expect(at['metadata.name']).toMatchObject({ line: 4, message: expect.stringContaining('a DNS label') });
  expect(at['metadata.labels.-bad']).toMatchObject({ line: 5 });
  expect(at['spec.runtime']).toMatchObject({
    line: 7,
    message: expect.stringContaining('did you mean "container"?'),
  });
  expect(at['spec.replicas']).toMatchObject({ line: 9, message: '2.5 must be a whole number' });
  expect(at['spec.resources.memroy']).toMatchObject({
    line: 11,
    message: 'unknown field "memroy" (did you mean "memory"?)',
  });
  expect(at['spec.resources.disk']).toMatchObject({
    line: 12,
    message: '64 is not valid: a size with its unit, such as 64MiB',
  });
  expect(at['spec.resources.memory']).toMatchObject({ line: 13 });
  expect(at['spec.env.1X']).toMatchObject({ line: 14 });
  expect(at['spec.ports[0].port']).toMatchObject({ line: 16, message: '70000 is too large: at most 65535' });
  expect(at['spec.ports[1].x']).toMatchObject({ line: 17 });
  expect(errors).toHaveLength(10);
});

test('rules between fields are held: twins, published ports of several replicas, no or two health checks', () => {
  const errors = errorsOf(`apiVersion: skerry/v1
kind: Workload
metadata: { name: ${'x'.repeat(60)} }
spec:
  runtime: container
  image: a
  replicas: 2
  ports:
    - { name: http, port: 80, publish: 8080 }
    - { name: http, port: 81 }
  health: { interval: 5s }
`);
  expect(errors.map(({ field, line }) => [field, line])).toEqual([
    ['metadata.name', 3],
    ['spec.ports[0].publish', 9],
    ['spec.ports[1].name', 10],
    ['spec.health', 11],
  ]);
});

test('two documents of one name are refused; the same name in another project is not', () => {
  const doc = (project: string) =>
    `apiVersion: skerry/v1\nkind: Volume\nmetadata: { name: data, project: ${project} }\nspec: { size: 1GiB }\n---\n`;
  expect(parseManifests(doc('a') + doc('b'))).toHaveLength(2);
  expect(errorsOf(doc('a') + doc('b') + doc('a'))).toEqual([
    {
      line: 13,
      field: 'metadata.name',
      message: 'the Volume "data" is described twice: the first is on line 1',
    },
  ]);
});

test.each([
  ['no YAML', 'kind: [', /./],
  ['a key twice', 'kind: Volume\nkind: Volume\n', /unique/i],
  ['no kind', 'apiVersion: skerry/v1\n', /missing/],
  ['an unknown kind', 'kind: Workloads\n', /did you mean "Workload"/],
  ['a list', '- a\n- b\n', /must be a map/],
  ['nothing', '# only a comment\n', /no document/],
  [
    'an unknown field at the top',
    'apiVersion: skerry/v1\nkind: Project\nmetadata: {name: a}\nspec: {}\nstatus: {}\n',
    /unknown field "status"/,
  ],
  [
    'a project in a project',
    'apiVersion: skerry/v1\nkind: Project\nmetadata: {name: a, project: b}\nspec: {}\n',
    /belongs to no project/,
  ],
])('refused with a line: %s', (_, text, message) => {
  const errors = errorsOf(text);
  expect(errors[0]!.message).toMatch(message);
  expect(errors[0]!.line).toBeGreaterThan(0);
});

test('aliases that multiply and nesting without end are refused quickly', () => {
  const begun = performance.now();
  let bomb = 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n';
  for (let i = 1; i < 12; i++) bomb += `a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}*a${i - 1}]\n`;
  expect(errorsOf(bomb)[0]!.message).toMatch(/alias/i);
  errorsOf('['.repeat(200_000));
  errorsOf(`kind: ${'{a: '.repeat(50_000)}`);
  expect(() => parseManifests(`# ${'x'.repeat(5 * 1024 * 1024)}`)).toThrow(/larger than/);
  expect(performance.now() - begun).toBeLessThan(20_000);
});
