import { afterEach, beforeEach, expect, test } from 'vitest';
import { document, type Edge, startEdge } from '../testing/edge.ts';
import type { FakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, workload } from '../testing/harness.ts';

const project = 'default';
const NETWORK = [
  document('AccessPoint', 'tower-1', '{ type: radio-tower, site: west }'),
  document('AccessPoint', 'tower-2', '{ type: radio-tower, site: east }'),
  document('Link', 'road', '{ between: [west, east], latency: 10ms }'),
  document('Client', 'bus', '{ attachedTo: tower-1 }'),
];

let edge: Edge;
let harness: Harness;
let nodes: readonly FakeNode[];
beforeEach(async () => {
  edge = await startEdge(['west', 'east'], NETWORK);
  ({ harness, nodes } = edge);
});
afterEach(async () => expect(await edge.close()).toEqual([]));

const put = (name: string, placement: object = {}, spec: object = {}) =>
  harness.client.workload.put({
    ...{ project, name },
    body: workload(name, { placement: { near: { clients: { fleet: 'red' } }, ...placement }, ...spec }),
  });
const all = async (name: string) =>
  (await harness.client.instance.list({ project, workload: name })).items.map(({ spec, status }) => ({
    node: spec.node,
    phase: status.phase,
  }));
const runsAt = (name: string, node: string) =>
  eventually(
    () => all(name),
    (found) => found.length === 1 && found[0]!.node === node && found[0]!.phase === 'running',
  );
const drive = (attachedTo: string) =>
  harness.client.client.patch({ name: 'bus', body: { spec: { attachedTo } } });

test('when a client has moved, a plan shows the gain, and applying it moves the instance with another one serving first', async () => {
  await put('web');
  await runsAt('web', 'west');
  expect((await harness.client.rebalance.plan()).moves).toEqual([]);
  await drive('tower-2');
  const { moves } = await harness.client.rebalance.plan();
  expect(moves).toMatchObject([
    { key: 'default/web-0', from: 'west', to: 'east', fromLatencyMs: 10, toLatencyMs: 0 },
  ]);
  expect(moves[0]!.gain).toBeGreaterThan(moves[0]!.cost);
  await runsAt('web', 'west'); // a plan moves nothing
  nodes[0]!.holdRemoval = true;
  await harness.client.rebalance.apply();
  // Until the old one has gone, the new one serves beside it.
  await eventually(
    () => all('web'),
    (found) => found.some(({ node, phase }) => node === 'east' && phase === 'running') && found.length > 1,
  );
  nodes[0]!.holdRemoval = false;
  await nodes[0]!.report();
  await runsAt('web', 'east');
  const { items } = await harness.client.event.list({ kind: 'Instance', name: 'web-0' });
  expect(items.find(({ reason }) => reason === 'Moving')?.message).toMatch(
    /from west to east: 0.0 ms .* 10.0 ms/,
  );
});

test('what has its data at a node, may not move or gains too little stays, and says why', async () => {
  await put('bound', {}, { move: 'never' });
  await put('web');
  await runsAt('web', 'west');
  await harness.client.link.patch({ name: 'road', body: { spec: { latency: '500us' } } });
  await drive('tower-2');
  const plan = await harness.client.rebalance.apply();
  expect(plan.moves).toEqual([]);
  expect(plan.held).toMatchObject([{ key: 'default/web-0', to: 'east', code: 'not_worth_it' }]);
  await runsAt('web', 'west');
  await runsAt('bound', 'west');
});

test('a bound that is broken by now moves an instance whatever it costs', async () => {
  await put('web', { maxLatency: '5ms' });
  await runsAt('web', 'west');
  await drive('tower-2');
  const { moves } = await harness.client.rebalance.apply();
  expect(moves[0]!.because).toMatch(/10ms away.*bound is 5ms/);
  await runsAt('web', 'east');
});

test('a workload that asks for it follows its clients by itself where a bound is broken', async () => {
  await put('web', { maxLatency: '5ms', rebalance: 'automatic' });
  await put('still', { maxLatency: '5ms' });
  await runsAt('web', 'west');
  await drive('tower-2');
  await runsAt('web', 'east');
  await runsAt('still', 'west');
});
