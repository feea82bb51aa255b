// A node does not answer any more: what ran there is started elsewhere when it is time, and not before.
import { afterEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
let harness: Harness;
const nodes = new Map<string, FakeNode>();

const join = async (name: string, index: number) => {
  nodes.set(name, await startFakeNode(harness.controller.link, { name, subnet: `10.90.${index}.0/24` }));
};
const leave = async (name: string) => {
  await nodes.get(name)!.stop();
  nodes.delete(name);
};
const begin = async (graceMs: number, names: readonly string[]) => {
  harness = await startHarness({ node: false, nodeGraceMs: graceMs });
  for (const [index, name] of names.entries()) await join(name, index);
};
const instances = async () => (await harness.client.instance.list({ project })).items;
const put = (name: string, spec: object = {}) =>
  harness.client.workload.put({ project, name, body: workload(name, spec) });
const running = () =>
  eventually(instances, (all) => all.length > 0 && all.every(({ status }) => status.phase === 'running'));
const settled = (good: (all: Awaited<ReturnType<typeof instances>>) => boolean) =>
  eventually(instances, good);

afterEach(async () => {
  for (const name of [...nodes.keys()]) await leave(name);
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

test('what ran on a lost node is started on another one; when the node is back, it is told to forget the old one', async () => {
  await begin(50, ['north', 'south']);
  await put('web', { replicas: 4, placement: { replaceAfter: '200ms' } });
  const before = await running();
  const lost = before.filter(({ spec }) => spec.node === 'north');
  expect(lost).toHaveLength(2);
  await leave('north');
  const after = await settled((all) =>
    all.every(({ spec, status }) => spec.node === 'south' && status.phase === 'running'),
  );
  expect(after.map(({ metadata }) => metadata.name)).toEqual(['web-0', 'web-1', 'web-2', 'web-3']);
  const kept = (all: typeof before) =>
    all.filter(({ spec }) => spec.node === 'south').map(({ metadata }) => metadata.uid);
  expect(kept(after)).toEqual(expect.arrayContaining(kept(before)));
  for (const { metadata } of lost) expect(after.map((one) => one.metadata.uid)).not.toContain(metadata.uid);
  const { items } = await harness.client.event.list({});
  expect(items.filter(({ reason }) => reason === 'Replaced')).toHaveLength(2);
  await join('north', 0);
  await eventually(
    async () => nodes.get('north')!.seen.at(-1),
    (state) => state?.instances.length === 0,
  );
  expect(await instances()).toEqual(after);
});

test('a node that is back before the time is over goes on with the same instances', async () => {
  await begin(30, ['north', 'south']);
  await put('web', { replicas: 2, placement: { replaceAfter: '1h' } });
  const before = await running();
  await leave('north');
  await settled((all) => all.some(({ status }) => status.phase === 'lost'));
  const { status } = await harness.client.workload.show({ project, name: 'web' });
  expect(status).toMatchObject({
    ready: 1,
    reason: expect.stringContaining('the node north does not answer'),
  });
  await join('north', 0);
  const after = await running();
  expect(after.map(({ metadata, spec }) => [metadata.uid, spec.node])).toEqual(
    before.map(({ metadata, spec }) => [metadata.uid, spec.node]),
  );
});

test('where nothing else takes it, an instance waits and says so, and goes to the first node that comes', async () => {
  await begin(30, ['north']);
  await put('web', { placement: { replaceAfter: '50ms' } });
  const [before] = await running();
  await leave('north');
  const [waiting] = await settled(([one]) => one!.status.reason?.includes('no other takes it') === true);
  expect(waiting!.metadata.uid).toBe(before!.metadata.uid);
  await join('south', 1);
  await settled(([one]) => one!.spec.node === 'south' && one!.status.phase === 'running');
});

test('an instance with a volume waits for the node that has its data', async () => {
  await begin(30, ['north']);
  await harness.client.volume.put({
    project,
    name: 'data',
    body: { apiVersion: 'skerry/v1', kind: 'Volume', metadata: { name: 'data' }, spec: { size: '1MiB' } },
  });
  await put('db', { volumes: [{ name: 'data', mount: '/data' }], placement: { replaceAfter: '1ms' } });
  await running();
  await join('south', 1);
  await leave('north');
  const [one] = await settled(([it]) => it!.status.reason?.includes('its volume data is there') === true);
  expect(one!.spec.node).toBe('north');
  await join('north', 0);
  await running();
});

test('a controller that was started again counts the time of a lost node anew', async () => {
  await begin(30, ['north', 'south']);
  await put('web', { placement: { replaceAfter: '400ms' } });
  const [before] = await running();
  const node = before!.spec.node!;
  for (const name of ['north', 'south']) await leave(name);
  await settled(([one]) => one!.status.phase === 'lost');
  const sinceMs = performance.now();
  await harness.restart();
  const other = node === 'north' ? 'south' : 'north';
  await join(other, 1);
  await settled(([one]) => one!.spec.node === other && one!.status.phase === 'running');
  expect(performance.now() - sinceMs).toBeGreaterThan(350);
});

test('after a restart nodes are waited for while they come one after the other, for longer than a single one would be', async () => {
  const names = Array.from({ length: 120 }, (_, at) => `n${at}`);
  await begin(200, names);
  await put('web', { placement: { replaceAfter: '1ms' } });
  const [before] = await running();
  for (const name of names) await leave(name);
  await harness.restart();
  const sinceMs = performance.now();
  // The one with the instance comes last, long after the grace of 200 ms, and within the 10 ms that each node adds to it.
  const last = before!.spec.node!;
  for (const [at, name] of names.entries()) {
    if (name === last) continue;
    await join(name, at);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, at * 4 - (performance.now() - sinceMs))));
  }
  expect(performance.now() - sinceMs).toBeGreaterThan(400);
  await join(last, names.indexOf(last));
  const [after] = await running();
  expect(after).toMatchObject({ metadata: { uid: before!.metadata.uid }, spec: { node: last } });
  const { items } = await harness.client.event.list({});
  expect(items.filter(({ reason }) => reason === 'Replaced' || reason === 'Lost')).toEqual([]);
});
