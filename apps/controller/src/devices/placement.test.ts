// Workloads are near to devices as they are to clients: weighted by number, and where devices go, they follow.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { document, type Edge, startEdge } from '../testing/edge.ts';
import { eventually, workload } from '../testing/harness.ts';

const project = 'default';
const device = (name: string, spec: string) =>
  `apiVersion: skerry/v1\nkind: Device\nmetadata: { name: ${name}, labels: { line: a } }\nspec: ${spec}\n---\n`;
const NETWORK = [
  document('AccessPoint', 'tower-1', '{ type: radio-tower, site: west }'),
  document('AccessPoint', 'tower-2', '{ type: radio-tower, site: east }'),
  document('Link', 'road', '{ between: [west, east], latency: 10ms }'),
  device('d1', '{ attachedTo: tower-1 }'),
  device('d2', '{}'),
  device('d3', '{}'),
];

let edge: Edge;
beforeAll(async () => {
  edge = await startEdge(['west', 'east'], NETWORK);
});
afterAll(async () => expect(await edge.close()).toEqual([]));

const tell = (node: string, names: readonly string[]) =>
  edge.harness.controller.link.devices!(node, {
    devices: names.map((name) => ({ project, name, connected: true, seenAgoMs: 0 })),
    streams: [],
    listening: [],
  });
const explained = async () => {
  const { near, nodes } = await edge.harness.client.workload.explain({ project, name: 'judge' });
  return { near, best: nodes.find(({ chosen }) => chosen)?.node };
};

test('a workload near to devices stands where most are; of those without an access point the node says where', async () => {
  const placement = { near: { devices: { line: 'a' } }, rebalance: 'automatic' };
  await edge.harness.client.workload.put({ project, name: 'judge', body: workload('judge', { placement }) });
  expect(await explained()).toEqual({ near: [{ accessPoint: 'tower-1', weight: 1 }], best: 'west' });
  await tell('east', ['d2', 'd3']);
  expect(await explained()).toEqual({
    near: [
      { accessPoint: 'tower-1', weight: 1 },
      { accessPoint: 'east', weight: 2 },
    ],
    best: 'east',
  });
});

test('devices that move have what is near to them proposed to follow', async () => {
  await eventually(
    () => edge.harness.client.rebalance.plan(),
    ({ moves }) => moves.some(({ key, to }) => key === 'default/judge-0' && to === 'east'),
    20_000,
  );
  await tell('west', ['d2', 'd3']);
  expect((await explained()).best).toBe('west');
  expect((await edge.harness.client.rebalance.plan()).moves).toEqual([]);
});
