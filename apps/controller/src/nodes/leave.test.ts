// A node is drained, let back, and taken out for good.
import { afterEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
let harness: Harness;
const nodes = new Map<string, FakeNode>();

const join = async (name: string, index: number, memoryMiB = 8192) => {
  const options = { name, subnet: `10.9${index}.0.0/24`, memoryMiB };
  const node = await startFakeNode(harness.controller.link, options);
  nodes.set(name, node);
  harness.controller.attachNode(name, node.link);
};
const leave = async (name: string) => {
  await nodes.get(name)!.stop();
  harness.controller.attachNode(name, undefined);
  nodes.delete(name);
};
const begin = async (names: readonly string[], memoryMiB?: number) => {
  harness = await startHarness({ node: false, nodeGraceMs: 30 });
  for (const [index, name] of names.entries()) await join(name, index, memoryMiB);
};
const instances = async () => (await harness.client.instance.list({ project })).items;
const put = (name: string, spec: object = {}) =>
  harness.client.workload.put({ project, name, body: workload(name, spec) });
const settled = (good: (all: Awaited<ReturnType<typeof instances>>) => boolean) =>
  eventually(instances, good);
const allRun = (count: number) =>
  settled((all) => all.length === count && all.every(({ status }) => status.phase === 'running'));
const reasonOf = async (name: string) =>
  (await harness.client.workload.show({ project, name })).status.reason ?? '';
const volume = (name: string) =>
  harness.client.volume.put({
    project,
    name,
    body: { apiVersion: 'skerry/v1', kind: 'Volume', metadata: { name }, spec: { size: '1MiB' } },
  });

afterEach(async () => {
  for (const name of [...nodes.keys()]) await leave(name);
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

test('a drained node is left by all, never with fewer running than before, and takes none until it is let back', async () => {
  await begin(['north', 'south', 'west']);
  await put('web', { replicas: 3, placement: { spread: 'node' } });
  await put('lone');
  await allRun(4);
  const least = { web: 3, lone: 1 };
  let over = false;
  const counting = (async () => {
    while (!over) {
      const all = await instances();
      for (const name of ['web', 'lone'] as const) {
        const count = all.filter(
          ({ spec, status }) => spec.workload === name && status.phase === 'running',
        ).length;
        least[name] = Math.min(least[name], count);
      }
    }
  })();
  await harness.client.node.drain({ name: 'north' });
  const after = await settled(
    (all) =>
      all.length === 4 &&
      all.every(({ spec, status }) => spec.node !== 'north' && status.phase === 'running'),
  );
  over = true;
  await counting;
  expect(least).toEqual({ web: 3, lone: 1 });
  expect(after.map(({ metadata }) => metadata.name).sort()).toEqual(['lone-0', 'web-0', 'web-1', 'web-2']);
  expect(after.some(({ spec }) => spec.standIn)).toBe(false);
  await put('more', { replicas: 3 });
  await allRun(7);
  expect((await instances()).some(({ spec }) => spec.node === 'north')).toBe(false);
  const { spec } = await harness.client.node.undrain({ name: 'north' });
  expect(spec.drain).toBeUndefined();
  await put('again', { replicas: 6, placement: { spread: 'node' } });
  await settled((all) => all.some((one) => one.spec.node === 'north'));
});

test('a single instance is ended first and started elsewhere then', async () => {
  await begin(['north', 'south']);
  await put('one', { singleInstance: true });
  const [before] = await allRun(1);
  const { node } = before!.spec;
  nodes.get(node!)!.holdRemoval = true;
  await harness.client.node.drain({ name: node! });
  const [leaving] = await settled(([one]) => one?.metadata.deletedAt !== undefined);
  expect(await instances()).toHaveLength(1);
  nodes.get(node!)!.holdRemoval = false;
  await nodes.get(node!)!.report();
  const [after] = await settled(([one]) => one?.spec.node !== node && one?.status.phase === 'running');
  expect(after!.metadata.uid).not.toBe(leaving!.metadata.uid);
  expect(after!.spec.lease!.epoch).toBe(2);
});

test('what has its data there, what is not to move, and what nothing else takes, stays and says why', async () => {
  await begin(['north']);
  await volume('data');
  await put('db', { volumes: [{ name: 'data', mount: '/data' }] });
  await put('rock', { move: 'never' });
  await put('big', { resources: { memory: '4GiB' } });
  await allRun(3);
  await join('south', 1, 1024);
  await harness.client.node.drain({ name: 'north' });
  await eventually(
    () => reasonOf('db'),
    (reason) => reason.includes('its volume data is there'),
  );
  await eventually(
    () => reasonOf('rock'),
    (reason) => reason.includes('`move` is never'),
  );
  await eventually(
    () => reasonOf('big'),
    (reason) => reason.includes('no other node takes it'),
  );
  expect((await instances()).every(({ spec }) => spec.node === 'north')).toBe(true);
  await join('west', 2);
  await settled((all) => all.some(({ metadata, spec }) => metadata.name === 'big-0' && spec.node === 'west'));
});

test('a node with instances, or with data, is taken out only by force; then they are started elsewhere', async () => {
  await begin(['north']);
  await volume('data');
  await put('db', { volumes: [{ name: 'data', mount: '/data' }] });
  await put('web', { replicas: 2 });
  await allRun(3);
  const remove = (force?: boolean) =>
    harness.client.node.delete({ name: 'north', ...(force ? { force } : {}) });
  await expect(remove()).rejects.toMatchObject({ code: 'in_use', message: expect.stringContaining('drain') });
  await join('south', 1);
  await leave('north');
  await settled((all) => all.some(({ status }) => status.phase === 'lost'));
  await expect(remove()).rejects.toMatchObject({ code: 'in_use', message: expect.stringContaining('data') });
  await remove(true);
  await settled(
    (all) =>
      all.length === 3 &&
      all.every(({ spec, status }) => spec.node === 'south' && status.phase === 'running'),
  );
  expect((await harness.client.node.list()).items.map(({ metadata }) => metadata.name)).toEqual(['south']);
  const { status } = await harness.client.volume.show({ project, name: 'data' });
  expect(status.node).toBe('south');
  await expect(harness.client.node.show({ name: 'north' })).rejects.toMatchObject({ code: 'not_found' });
  await expect(harness.client.node.delete({ name: 'north' })).rejects.toMatchObject({ code: 'not_found' });
});

test('what is being removed on a node that is taken out is gone with it', async () => {
  await begin(['north']);
  await put('web', { replicas: 2 });
  await allRun(2);
  nodes.get('north')!.holdRemoval = true;
  await harness.client.workload.delete({ project, name: 'web' });
  await leave('north');
  await eventually(
    () => harness.client.node.show({ name: 'north' }),
    ({ status }) => status.phase === 'lost',
  );
  await harness.client.node.delete({ name: 'north' });
  await eventually(
    async () => (await harness.client.workload.list({ project })).items,
    (items) => items.length === 0,
  );
});

test('of a node that is taken out, a single instance is started elsewhere only when its lease is over', async () => {
  await begin(['north']);
  await put('one', { singleInstance: true, placement: { replaceAfter: '50ms' } });
  const [one] = await allRun(1);
  const leases = [{ uid: one!.metadata.uid as never, epoch: 1, holds: false }];
  const grantedMs = performance.now();
  expect(await harness.controller.link.lease('north', { holder: 'machine', leases })).toHaveLength(1);
  await join('south', 1);
  await harness.client.node.delete({ name: 'north', force: true });
  expect(await harness.controller.link.lease('north', { holder: 'machine', leases })).toHaveLength(1);
  await settled(([it]) => it?.spec.node === 'south');
  expect(performance.now() - grantedMs).toBeGreaterThan(2000);
});

test('the machine of the controller itself is no node to take out', async () => {
  harness = await startHarness();
  await expect(harness.client.node.delete({ name: 'local', force: true })).rejects.toMatchObject({
    code: 'in_use',
    message: expect.stringContaining('itself'),
  });
});
