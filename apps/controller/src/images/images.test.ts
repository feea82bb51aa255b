import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { factsOf } from '../testing/fake-images.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
const MIB = 1024 * 1024;
let harness: Harness;
beforeEach(async () => {
  const overheadBytes = { container: 4 * MIB, unikernel: 12 * MIB, sim: 0, vm: 48 * MIB };
  harness = await startHarness({ engine: 'sqlite', node: { overheadBytes } });
});
afterEach(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});
const importText = (text: string, reference: string) =>
  harness.client.image.import({ project, reference, body: Buffer.from(text) });
const operation = (name: string, phase: string) =>
  eventually(
    () => harness.client.operation.show({ name }),
    ({ status }) => status.phase === phase,
  );

test('an imported file becomes an image of its project, and nothing of the upload is left', async () => {
  const { items } = await importText('an archive', 'hello:1');
  expect(items.map(({ spec, status }) => [spec.reference, status.kind])).toEqual([['hello:1', 'container']]);
  const uploads = await readdir(join(harness.folder, 'uploads'));
  expect(uploads).toEqual([]);
  await expect(importText('rubbish', 'x')).rejects.toMatchObject({ code: 'image_invalid' });
  expect(await readdir(join(harness.folder, 'uploads'))).toEqual([]);
  await expect(importText('an archive', 'Not A Name')).rejects.toMatchObject({ code: 'request_invalid' });
  await expect(harness.client.image.show({ project: 'other', name: 'hello:1' })).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('an image is found by name, by tag and by digest, in manifests and by itself; what is deleted is a name', async () => {
  await importText('version one', 'hello');
  const { digest } = factsOf('version one');
  for (const name of ['hello', 'hello:latest', digest, `hello@${digest}`]) {
    const shown = await harness.client.image.show({ project, name });
    expect(shown.spec.reference).toBe('hello:latest');
    const body = workload('a', { runtime: 'container', image: name });
    const made = await harness.client.workload.put({ project, name: 'a', body });
    expect(made.status.imageDigest).toBe(digest);
  }
  const other = `sha256:${'0'.repeat(64)}`;
  await expect(harness.client.image.show({ project, name: other })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(harness.client.image.delete({ project, name: digest })).rejects.toMatchObject({
    code: 'request_invalid',
    message: expect.stringContaining('delete hello:latest'),
  });
});

test('a workload keeps the digest that its image stood for; a name that leads elsewhere replaces its guests at the next apply', async () => {
  await importText('version one', 'hello');
  const made = await harness.client.workload.put({
    project,
    name: 'a',
    body: workload('a', { runtime: 'container', image: 'hello' }),
  });
  expect(made.status.imageDigest).toBe(factsOf('version one').digest);
  await importText('version two', 'hello:latest');
  expect((await harness.client.workload.show({ project, name: 'a' })).status.imageDigest).toBe(
    factsOf('version one').digest,
  );
  const again = await harness.client.workload.put({
    project,
    name: 'a',
    body: workload('a', { runtime: 'container', image: 'hello' }),
  });
  expect(again.status.imageDigest).toBe(factsOf('version two').digest);
  await eventually(
    () => harness.client.instance.show({ project, name: 'a-0' }),
    ({ spec }) => spec.imageDigest === factsOf('version two').digest,
  );
});

test('an image that is missing or of the wrong kind is an error that names the field', async () => {
  const put = (runtime: string, image: string) =>
    harness.client.workload.put({ project, name: 'a', body: workload('a', { runtime, image }) });
  await expect(put('container', 'registry.test:5000/x:1')).rejects.toMatchObject({
    code: 'image_not_found',
    message: expect.stringContaining('skerry image pull registry.test:5000/x:1'),
    details: { field: 'spec.image' },
  });
  await importText('ELF', 'kernel');
  await expect(put('container', 'kernel')).rejects.toMatchObject({
    code: 'image_wrong_kind',
    details: { field: 'spec.image', kind: 'unikernel' },
  });
  await put('unikernel', 'kernel');
});

test('an image that is used stays; one that is not goes, and its content is freed', async () => {
  await importText('ELF', 'kernel');
  await harness.client.workload.put({
    project,
    name: 'a',
    body: workload('a', { runtime: 'unikernel', image: 'kernel' }),
  });
  await expect(harness.client.image.delete({ project, name: 'kernel' })).rejects.toMatchObject({
    code: 'in_use',
    details: { by: ['a'] },
  });
  await importText('other', 'other');
  expect(await harness.client.image.delete({ project, name: 'other' })).toEqual({
    reference: 'other:latest',
    freedBytes: 42,
  });
  expect([...harness.images.kept.at(-1)!]).toEqual([factsOf('ELF').digest]);
});

test('a kernel and its initramfs are resolved with the disk, kept, refused with their line, and forgotten with the wish', async () => {
  for (const [text, name] of [
    ['DISK', 'disk'],
    ['ELF linux', 'kernel'],
    ['ELF other', 'other'],
    ['CPIO', 'initrd'],
  ] as const)
    await importText(text, name);
  const manifest = (vm: string) => `apiVersion: skerry/v1
kind: Workload
metadata: { name: a }
spec:
  runtime: vm
  image: disk
  vm:
${vm}`;
  const apply = (vm: string) => harness.client.apply({ body: manifest(vm) });
  const boot = (kernel: string, initrd: string) =>
    `    boot:\n      kernel: ${kernel}\n      initrd: ${initrd}\n      arguments: "root=/dev/vda2"\n`;
  for (const [kernel, initrd, line, code] of [
    ['other', 'initrd', 9, 'image_wrong_kind'],
    ['disk', 'initrd', 9, 'image_wrong_kind'],
    ['kernel', 'kernel', 10, 'image_wrong_kind'],
    ['kernel', 'nothing', 10, 'image_not_found'],
  ] as const) {
    const field = `spec.vm.boot.${line === 9 ? 'kernel' : 'initrd'}`;
    await expect(apply(boot(kernel, initrd))).rejects.toMatchObject({ code, details: { field, line } });
  }
  const show = async () => (await harness.client.workload.show({ project, name: 'a' })).status;
  await apply(boot('kernel', 'initrd'));
  const [kernelDigest, initrdDigest] = [factsOf('ELF linux').digest, factsOf('CPIO').digest];
  expect(await show()).toMatchObject({ imageDigest: factsOf('DISK').digest, kernelDigest, initrdDigest });
  for (const name of ['kernel', 'initrd'])
    await expect(harness.client.image.delete({ project, name })).rejects.toMatchObject({ code: 'in_use' });
  const instance = async () => (await harness.client.instance.show({ project, name: 'a-0' })).spec;
  await eventually(
    instance,
    (spec) => spec.kernelDigest === kernelDigest && spec.initrdDigest === initrdDigest,
  );
  await apply('    tpm: false\n');
  expect(Object.keys(await show())).not.toContain('kernelDigest');
  await eventually(instance, (spec) => !('kernelDigest' in spec) && !('initrdDigest' in spec));
  await harness.client.image.delete({ project, name: 'initrd' });
});

test('a pull is an operation with progress and an end; its password is stored nowhere', async () => {
  const begun = await harness.client.image.pull({
    project,
    body: { reference: 'reg.test/hello:2', auth: { username: 'u', password: 'opensesame' } },
  });
  const done = await operation(begun.metadata.name, 'done');
  expect(done.status.result).toMatchObject({ reference: 'reg.test/hello:2' });
  expect(harness.images.pulls).toEqual([
    { reference: 'reg.test/hello:2', auth: { username: 'u', password: 'opensesame' } },
  ]);
  expect((await harness.client.image.show({ project, name: 'reg.test/hello:2' })).status.source).toBe(
    'pull reg.test/hello:2',
  );
  expect(JSON.stringify(await harness.store.list('/'))).not.toContain('opensesame');
});

test('a pull that fails says why; one that runs can be cancelled, once', async () => {
  const broken = await harness.client.image.pull({ project, body: { reference: 'reg.test/broken' } });
  expect((await operation(broken.metadata.name, 'failed')).status.error).toEqual({
    code: 'registry_unavailable',
    message: 'the registry answered 500',
  });
  harness.images.gate = new Promise(() => undefined);
  const slow = await harness.client.image.pull({ project, body: { reference: 'reg.test/slow' } });
  await operation(slow.metadata.name, 'running');
  expect((await harness.client.operation.cancel({ name: slow.metadata.name })).status).toMatchObject({
    phase: 'cancelled',
    error: { code: 'cancelled' },
  });
  await expect(harness.client.operation.cancel({ name: slow.metadata.name })).rejects.toMatchObject({
    code: 'phase_forbids',
  });
  await expect(harness.client.image.show({ project, name: 'reg.test/slow' })).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('a controller that restarts goes on with the pulls that had not ended', async () => {
  harness.images.gate = new Promise(() => undefined);
  const slow = await harness.client.image.pull({ project, body: { reference: 'reg.test/slow' } });
  await operation(slow.metadata.name, 'running');
  const stopping = harness.restart();
  harness.images.gate = Promise.resolve();
  await stopping;
  await operation(slow.metadata.name, 'done');
  expect(harness.images.pulls.map(({ reference }) => reference)).toEqual([
    'reg.test/slow:latest',
    'reg.test/slow:latest',
  ]);
});

test('a function becomes an image and a workload of its own kernel; made again it is replaced', async () => {
  const body = { name: 'thermo', source: 'export default (r) => r', filename: 'thermo.ts', replicas: 2 };
  const made = await harness.client.function.create({ project, body });
  expect(made.spec).toMatchObject({
    runtime: 'unikernel',
    replicas: 2,
    restart: 'always',
    resources: { memory: '8MiB' },
    health: { http: { port: 8080, path: '/healthz' } },
  });
  await eventually(
    () => harness.client.workload.show({ project, name: 'thermo' }),
    ({ status }) => status.ready === 2,
  );
  expect(
    (await harness.client.function.list({ project })).items.map(({ metadata }) => metadata.name),
  ).toEqual(['thermo']);
  const again = await harness.client.function.create({
    project,
    body: { ...body, source: 'export default () => 1' },
  });
  expect(again.metadata.generation).toBe(2);
  await expect(
    harness.client.function.create({ project, body: { ...body, source: 'async () => 1' } }),
  ).rejects.toMatchObject({ code: 'function_invalid', details: { line: 1, column: 1 } });
  const built = await harness.client.image.build({
    project,
    body: { name: 'fn', source: 'export default () => 2', filename: 'fn.js' },
  });
  expect(built.status.kind).toBe('function');
});
