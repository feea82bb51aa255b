// A single instance: whose lease it is, and when another copy may be started.
import { afterEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
/** The shortest there is, and after which it is surely over. */
const [FOR_MS, OVER_MS] = [1000, 2050];
let harness: Harness;
const nodes = new Map<string, FakeNode>();

const join = async (name: string, index: number) => {
  nodes.set(name, await startFakeNode(harness.controller.link, { name, subnet: `10.9${index}.0.0/24` }));
};
const leave = async (name: string) => {
  await nodes.get(name)!.stop();
  nodes.delete(name);
};
const begin = async (names: readonly string[]) => {
  harness = await startHarness({ node: false, nodeGraceMs: 30 });
  for (const [index, name] of names.entries()) await join(name, index);
};
const only = async () => (await harness.client.instance.list({ project })).items[0]!;
const put = (spec: object = {}) =>
  harness.client.workload.put({
    project,
    name: 'one',
    body: workload('one', { singleInstance: true, placement: { replaceAfter: '50ms' }, ...spec }),
  });
const runs = () => eventually(only, (one) => one?.status.phase === 'running');
type Found = Awaited<ReturnType<typeof only>>;
const ask = async ({ metadata, spec }: Found, holder = 'machine', holds = false, node = spec.node!) =>
  (
    await harness.controller.link.lease(node, {
      holder,
      leases: [{ uid: metadata.uid as never, epoch: spec.lease!.epoch, holds }],
    })
  ).length === 1;

afterEach(async () => {
  for (const name of [...nodes.keys()]) await leave(name);
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

test('another copy is started only when the lease of the old one is surely over, with a higher epoch', async () => {
  await begin(['north', 'south']);
  await put();
  const first = await runs();
  expect(first.spec.lease).toEqual({ epoch: 1, forMs: FOR_MS });
  expect(await ask(first)).toBe(true);
  const other = first.spec.node === 'north' ? 'south' : 'north';
  expect(await ask(first, 'machine', false, other)).toBe(false);
  expect(await ask({ ...first, spec: { ...first.spec, lease: { epoch: 9, forMs: 1 } } })).toBe(false);

  await leave(first.spec.node!);
  await eventually(only, ({ status }) => status.phase === 'lost');
  const grantedMs = performance.now();
  expect(await ask(first, 'machine', true)).toBe(true); // half open: only this way still goes
  await eventually(only, ({ status }) => status.reason?.includes('until its lease ends') === true);
  const second = await eventually(only, ({ metadata }) => metadata.uid !== first.metadata.uid);
  expect(performance.now() - grantedMs).toBeGreaterThan(OVER_MS - 20);
  expect(second.spec).toMatchObject({ node: other, lease: { epoch: 2 } });
  expect(await ask(first, 'machine', true)).toBe(false);
  expect(await ask(second, 'other machine')).toBe(true);
  const { control } = await harness.client.workload.show({ project, name: 'one' });
  expect(control.epoch).toBe(2);
});

test('a copy of the machine gets no lease while the first one may have it', async () => {
  await begin(['north']);
  await put();
  const one = await runs();
  expect(await ask(one, 'first')).toBe(true);
  expect(await ask(one, 'copy')).toBe(false);
  expect(await ask(one, 'copy', true)).toBe(false);
  const sinceMs = performance.now();
  await eventually(
    () => ask(one, 'copy'),
    (given) => given,
  );
  expect(performance.now() - sinceMs).toBeGreaterThan(OVER_MS - 100);
  expect(await ask(one, 'first', true)).toBe(false);
});

test('a controller that was started again takes it that every lease was given just before', async () => {
  await begin(['north', 'south']);
  await put();
  const one = await runs();
  expect(await ask(one)).toBe(true);
  for (const name of ['north', 'south']) await leave(name);
  const sinceMs = performance.now();
  await harness.restart();
  const other = one.spec.node === 'north' ? 'south' : 'north';
  await join(other, 1);
  expect(await ask(one, 'copy')).toBe(false);
  await eventually(only, ({ metadata }) => metadata.uid !== one.metadata.uid);
  expect(performance.now() - sinceMs).toBeGreaterThan(OVER_MS - 100);
});

test('a controller that was started again renews for the one that has the lease, at once', async () => {
  await begin(['north']);
  await put();
  const one = await runs();
  expect(await ask(one)).toBe(true);
  await leave('north');
  await harness.restart();
  await join('north', 0);
  expect(await ask(one, 'machine', true)).toBe(true);
  expect(await ask(one, 'copy')).toBe(false);
});

test('making a workload a single instance replaces what ran without a lease; more than one replica is refused', async () => {
  await begin(['north']);
  await put({ singleInstance: false, replicas: 2 });
  const before = await eventually(only, (one) => one?.status.phase === 'running');
  expect(before.spec.lease).toBeUndefined();
  await expect(put({ replicas: 2 })).rejects.toMatchObject({ code: 'manifest_invalid' });
  await put({ replicas: 1 });
  const after = await eventually(only, (one) => one?.spec.lease !== undefined);
  expect(after.metadata.uid).not.toBe(before.metadata.uid);
  expect((await harness.client.instance.list({ project })).items).toHaveLength(1);
  const restarted = await harness.client.workload.restart({ project, name: 'one' });
  expect(restarted.control.epoch).toBe(1);
  await eventually(only, ({ spec, status }) => spec.restarts === 1 && status.phase === 'running');
  expect((await only()).metadata.uid).toBe(after.metadata.uid);
});

test('what ran without a lease on a node that is lost is not replaced: it may run for ever', async () => {
  await begin(['north']);
  await put({ singleInstance: false, placement: { replaceAfter: '1h' } });
  const before = await runs();
  await join('south', 1);
  await leave('north');
  await eventually(only, ({ status }) => status.phase === 'lost');
  await put();
  const marked = await only();
  expect(marked.metadata).toMatchObject({ uid: before.metadata.uid, deletedAt: expect.any(String) });
  const { status } = await eventually(
    () => harness.client.workload.show({ project, name: 'one' }),
    (one) => one.status.reason !== undefined,
  );
  expect(status.reason).toContain('still being removed');
  await join('north', 0);
  const after = await eventually(only, (one) => one?.spec.lease !== undefined);
  expect(after.metadata.uid).not.toBe(before.metadata.uid);
});
