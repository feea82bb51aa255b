// Desired state goes to the nodes that it concerns: to one, or to very many.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
const COUNT = 150;
let harness: Harness;
let nodes: FakeNode[];

beforeEach(async () => {
  harness = await startHarness({ node: false });
  nodes = [];
  for (let at = 0; at < COUNT; at++)
    nodes.push(await startFakeNode(harness.controller.link, { name: `n${at}`, subnet: `10.90.${at}.0/24` }));
});
afterEach(async () => {
  for (const node of nodes) await node.stop();
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const settled = () =>
  eventually(
    async () => (await harness.client.instance.list({ project })).items,
    (all) => all.length > 0 && all.every(({ status }) => status.phase === 'running'),
  );

test('a workload concerns its node only; what concerns all reaches each of them', async () => {
  const placement = { nodeSelector: { node: 'n7' } };
  const body = {
    apiVersion: 'skerry/v1' as const,
    kind: 'Volume' as const,
    metadata: { name: 'data' },
    spec: { size: '1MiB' },
  };
  await eventually(
    async () => nodes.filter((node) => node.seen.length > 0).length,
    (count) => count === COUNT,
  );
  const before = nodes.map((node) => node.seen.length);
  await harness.client.volume.put({ project, name: 'data', body });
  await harness.client.workload.put({
    ...{ project, name: 'db' },
    body: workload('db', { placement, volumes: [{ name: 'data', mount: '/data' }] }),
  });
  await settled();
  const concerned = nodes.flatMap((node, at) => (node.seen.length > before[at]! ? [at] : []));
  expect(concerned).toEqual([7]);
  // Whose volume it was may be anybody's concern.
  const then = nodes.map((node) => node.seen.length);
  await harness.client.workload.delete({ project, name: 'db' });
  await eventually(
    async () => nodes.filter((node, at) => node.seen.length > then[at]!).length,
    (count) => count === COUNT,
  );
});
