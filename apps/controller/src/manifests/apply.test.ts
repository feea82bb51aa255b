import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually, type Harness, startHarness } from '../testing/harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness({
    node: { memoryMiB: 1024, overheadBytes: { sim: 0, container: 4 * 1024 * 1024 } },
  });
});
afterEach(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const file = `apiVersion: skerry/v1
kind: Workload
metadata: { name: web, project: shop }
spec: { runtime: sim, image: sim, replicas: 2, volumes: [{ name: data, mount: /data }] }
---
apiVersion: skerry/v1
kind: Volume
metadata: { name: data, project: shop }
spec: { size: 1GiB }
---
apiVersion: skerry/v1
kind: Project
metadata: { name: shop }
spec: { description: a shop }
`;
const outcomes = (result: { documents: { kind: string; outcome: string }[] }) =>
  result.documents.map(({ kind, outcome }) => [kind, outcome]);
const nothing = async () => {
  const projects = await harness.client.project.list();
  expect(projects.items.map(({ metadata }) => metadata.name)).toEqual(['default']);
};

test('apply makes all documents in whatever order they stand, and is idempotent', async () => {
  const first = await harness.client.apply({ body: file });
  expect(outcomes(first)).toEqual([
    ['Workload', 'created'],
    ['Volume', 'created'],
    ['Project', 'created'],
  ]);
  expect(first.documents.map(({ line }) => line)).toEqual([1, 6, 11]);
  await eventually(
    () => harness.client.workload.show({ project: 'shop', name: 'web' }),
    ({ status }) => status.ready === 2,
  );
  const volume = await harness.client.volume.show({ project: 'shop', name: 'data' });
  expect(volume.status).toMatchObject({ phase: 'ready', node: 'local', usedBy: ['web'] });
  const second = await harness.client.apply({ body: file });
  expect(outcomes(second).map(([, outcome]) => outcome)).toEqual(['unchanged', 'unchanged', 'unchanged']);
  const third = await harness.client.apply({ body: file.replace('replicas: 2', 'replicas: 3') });
  expect(third.documents[0]).toMatchObject({ outcome: 'changed', generation: 2 });
  expect(third.documents[0]!.steps.map(({ text }) => text)).toEqual([
    'update workload web',
    'create instance web-2 on local at 10.90.0.4',
  ]);
});

test('a plan tells the very steps that apply then takes, and does nothing', async () => {
  const plan = await harness.client.apply({ body: file, dryRun: true });
  await nothing();
  const done = await harness.client.apply({ body: file });
  expect(plan.documents.map(({ steps }) => steps)).toEqual(done.documents.map(({ steps }) => steps));
  expect(plan).toMatchObject({ dryRun: true });
  expect(done.documents[0]!.steps).toHaveLength(3);
  // The room that a plan took is given back, as often as one likes.
  for (let i = 0; i < 50; i++)
    await harness.client.apply({ body: file.replace('replicas: 2', 'replicas: 9'), dryRun: true });
  expect((await harness.client.node.show({ name: 'local' })).status.allocated.instances).toBe(2);
});

test('one document that does not fit: nothing of the file is done, and the error names its line and the numbers', async () => {
  const greedy = `${file}---\napiVersion: skerry/v1\nkind: Workload\nmetadata: { name: big }\nspec: { runtime: sim, image: sim, resources: { memory: 2GiB } }\n`;
  await expect(harness.client.apply({ body: greedy })).rejects.toMatchObject({
    code: 'quota_exceeded',
    message: expect.stringMatching(
      /^workload big \(line 16\): big-0 needs 2GiB of memory .* local has 800MiB free of 1GiB \(192MiB are kept/,
    ),
    details: { line: 16, resource: 'memory', needed: 2 ** 31 },
  });
  await nothing();
  expect((await harness.client.node.show({ name: 'local' })).status.allocated).toEqual({
    cpus: 0,
    memoryBytes: 0,
    instances: 0,
  });
  await harness.client.apply({ body: file });
});

test('wrong fields are all named with their lines, and nothing is done', async () => {
  const wrong = file.replace('size: 1GiB', 'sise: 1').replace('replicas', 'replicsa');
  await expect(harness.client.apply({ body: wrong })).rejects.toMatchObject({
    code: 'manifest_invalid',
    details: {
      errors: [
        { line: 4, field: 'spec.replicsa' },
        { line: 9, field: 'spec.size' },
        { line: 9, field: 'spec.sise' },
      ],
    },
  });
  await nothing();
});

test('delete takes all documents away, in the order that lets them go, and what is not there is no error', async () => {
  await harness.client.apply({ body: file });
  const result = await harness.client.delete({ body: file });
  expect(outcomes(result).map(([, outcome]) => outcome)).toEqual(['deleted', 'deleted', 'deleted']);
  await eventually(
    () => harness.client.project.list(),
    ({ items }) => items.length === 1,
  );
  const again = await harness.client.delete({ body: file });
  expect(outcomes(again).map(([, outcome]) => outcome)).toEqual(['absent', 'absent', 'absent']);
  expect((await harness.store.list('/resources/volumes/')).entries).toEqual([]);
  expect((await harness.store.list('/resources/instances/')).entries).toEqual([]);
});

test('the data of a volume stays until the last guest that mounts it is gone', async () => {
  await harness.client.apply({ body: file });
  await expect(harness.client.volume.delete({ project: 'shop', name: 'data' })).rejects.toMatchObject({
    code: 'in_use',
    details: { by: ['web'] },
  });
  await expect(harness.client.project.delete({ project: 'shop' })).rejects.toMatchObject({ code: 'in_use' });
  harness.node!.holdRemoval = true;
  await harness.client.delete({ body: file });
  const last = () => harness.node!.seen.at(-1)!;
  await eventually(
    async () => last(),
    (state) => state.instances.every((one) => one.deleted),
  );
  expect(last().volumes.map(({ deleted }) => deleted)).toEqual([false]);
  harness.node!.holdRemoval = false;
  await harness.node!.report();
  await eventually(
    () => harness.client.project.list(),
    ({ items }) => items.length === 1,
  );
});

test('documents without a project go where the request says', async () => {
  await harness.client.project.put({
    project: 'lab',
    body: { apiVersion: 'skerry/v1', kind: 'Project', metadata: { name: 'lab' }, spec: {} },
  });
  const body = 'apiVersion: skerry/v1\nkind: Volume\nmetadata: { name: v }\nspec: { size: 1MiB }\n';
  await harness.client.apply({ body, project: 'lab' });
  expect((await harness.client.volume.list({ project: 'lab' })).items).toHaveLength(1);
  await expect(harness.client.apply({ body, project: 'nowhere' })).rejects.toMatchObject({
    code: 'not_found',
  });
});
