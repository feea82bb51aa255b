import { afterEach, beforeEach, expect, test } from 'vitest';
import { document, type Edge, startEdge } from '../testing/edge.ts';
import { type Harness, workload } from '../testing/harness.ts';

let edge: Edge;
let harness: Harness;
beforeEach(async () => {
  edge = await startEdge(
    ['west', 'east'],
    [
      document('AccessPoint', 'tower', '{ type: radio-tower, site: west }'),
      document('Link', 'road', '{ between: [west, east], latency: 10ms }'),
      document('Client', 'phone', '{ attachedTo: tower, address: 192.0.2.7 }'),
    ],
  );
  ({ harness } = edge);
});
afterEach(async () => expect(await edge.close()).toEqual([]));
const measured = { medianUs: 30_000, leastUs: 28_000, lossShare: 0.25, ageMs: 1000 };

test('modelled and measured are shown side by side, with their age, and nothing of it is stored', async () => {
  const before = (await harness.client.status()).revision;
  await harness.controller.link.measure('west', [
    { kind: 'node', name: 'east', ...measured },
    { kind: 'client', name: 'phone', ...measured, medianUs: 2000 },
  ]);
  const { items } = await harness.client.latency.list();
  expect(items).toEqual([
    {
      from: 'west',
      kind: 'node',
      to: 'east',
      by: 'icmp',
      measuredMs: 15,
      leastMs: 14,
      modelledMs: 10,
      lossShare: 0.25,
      ageMs: expect.any(Number),
    },
    {
      from: 'west',
      kind: 'client',
      to: 'phone',
      by: 'icmp',
      measuredMs: 1,
      leastMs: 14,
      modelledMs: 0,
      lossShare: 0.25,
      ageMs: expect.any(Number),
    },
  ]);
  expect(items[0]!.ageMs).toBeGreaterThanOrEqual(1000);
  expect((await harness.client.status()).revision).toBe(before);
});

test('two nodes that are farther from each other than the model says are told once, and once when they are not any more', async () => {
  const tell = (us: number) =>
    harness.controller.link.measure('west', [{ kind: 'node', name: 'east', ...measured, medianUs: us }]);
  for (const us of [21_000, 44_000, 46_000, 30_000, 24_000, 22_000]) await tell(us);
  const { items } = await harness.client.event.list({ kind: 'Node', name: 'east' });
  expect(
    items.filter(({ reason }) => /Modelled/.test(reason)).map(({ reason, message }) => [reason, message]),
  ).toEqual([
    [
      'FartherThanModelled',
      'from east to west: 22.0 ms measured, 10.0 ms by the model: a link may be down, or slow',
    ],
    ['AsModelled', 'from east to west: 12.0 ms measured, 10.0 ms by the model'],
  ]);
});

test('what was measured between an access point and a site corrects where the next one is placed', async () => {
  // By the model west is at the tower; measured, it is 40 ms away, and east 2.
  await harness.controller.link.measure('west', [
    { kind: 'client', name: 'phone', ...measured, medianUs: 80_000 },
  ]);
  await harness.controller.link.measure('east', [
    { kind: 'client', name: 'phone', ...measured, medianUs: 4000 },
  ]);
  const body = workload('web', { placement: { near: { accessPoints: ['tower'] } } });
  await harness.client.workload.put({ project: 'default', name: 'web', body });
  const { items } = await harness.client.instance.list({ project: 'default', workload: 'web' });
  expect(items[0]!.spec.node).toBe('east');
  const told = await harness.client.workload.explain({ project: 'default', name: 'web' });
  expect(told.nodes.map(({ node, latencyMs }) => [node, latencyMs])).toEqual([
    ['east', 2],
    ['west', 40],
  ]);
});
