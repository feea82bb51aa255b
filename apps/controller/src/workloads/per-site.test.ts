import { SkerryError } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { document, type Edge, startEdge } from '../testing/edge.ts';
import type { FakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, workload } from '../testing/harness.ts';

const project = 'default';
const NETWORK = [
  document('AccessPoint', 'tower-1', '{ type: radio-tower, site: west }'),
  document('AccessPoint', 'tower-2', '{ type: radio-tower, site: east }'),
  document('AccessPoint', 'cell', '{ type: small-cell, site: kiosk }'),
  document('Site', 'kiosk', '{}'),
  document('Link', 'road', '{ between: [west, east], latency: 10ms }'),
  document('Link', 'lane', '{ between: [kiosk, east], latency: 1ms }'),
  document('Client', 'bus', '{ attachedTo: tower-1 }'),
  document('Client', 'car', '{}'),
];

let edge: Edge;
let harness: Harness;
let nodes: readonly FakeNode[];
beforeEach(async () => {
  edge = await startEdge(['west', 'east'], NETWORK, 2000);
  ({ harness, nodes } = edge);
});
afterEach(async () => expect(await edge.close()).toEqual([]));

const put = (name: string, replicas: object = {}, spec: object = {}) =>
  harness.client.workload.put({
    ...{ project, name },
    body: workload(name, { replicas: { perSite: 1, keepFor: '200ms', ...replicas }, ...spec }),
  });
const show = (name = 'web') => harness.client.workload.show({ project, name });
/** `web-0 west`, of those that run. */
const running = async (name = 'web') =>
  (await harness.client.instance.list({ project, workload: name })).items
    .filter(({ status }) => status.phase === 'running')
    .map(({ metadata, spec }) => `${metadata.name} ${spec.node}`)
    .sort();
const runs = (wanted: string[], name = 'web') =>
  eventually(
    () => running(name),
    (found) => JSON.stringify(found) === JSON.stringify(wanted),
  );
const attach = (name: string, attachedTo: string | null) =>
  harness.client.client.patch({ name, body: { spec: { attachedTo } } as never });

test('an instance is started at the site where a client comes, and goes after the last one has left', async () => {
  await put('web');
  await runs(['web-0 west']);
  expect((await show()).status.sites).toEqual([{ site: 'west', wanted: 1, ready: 1, ordinals: [0] }]);
  await attach('car', 'tower-2');
  await runs(['web-0 west', 'web-1 east']);
  await attach('car', null);
  await runs(['web-0 west']);
  await eventually(show, ({ status }) => status.sites?.length === 1 && status.replicas === 1);
  const { items } = await harness.client.event.list({ kind: 'Workload', name: 'web' });
  expect(items.map(({ message }) => message)).toContain('workload web: it goes from the site east');
});

test('a client that comes back in time finds the same instance, and one that moved is not left before another serves', async () => {
  await put('web', { keepFor: '10m' });
  await runs(['web-0 west']);
  await attach('bus', 'tower-2');
  await runs(['web-0 west', 'web-1 east']);
  await eventually(show, ({ status }) => status.sites?.[0]?.ready === 1);
  expect((await show()).status.sites).toEqual([
    { site: 'east', wanted: 1, ready: 1, ordinals: [1] },
    { site: 'west', wanted: 0, ready: 1, ordinals: [0], unwantedSince: expect.any(String) },
  ]);
  await attach('bus', 'tower-1');
  await eventually(show, ({ status }) => status.sites?.[1]?.wanted === 1);
  expect((await show()).status.sites?.[1]).toEqual({ site: 'west', wanted: 1, ready: 1, ordinals: [0] });
  const uids = async () =>
    (await harness.client.instance.list({ project })).items.map(({ metadata }) => metadata.uid);
  const before = await uids();
  await put('web', { keepFor: '1ms' });
  await runs(['web-0 west']);
  expect(before).toEqual(expect.arrayContaining(await uids()));
});

test('a plan tells at which sites instances would be made, and a controller that starts anew lets go what was kept', async () => {
  const body = JSON.stringify(workload('web', { replicas: { perSite: 1, keepFor: '6s' } }));
  const { documents } = await harness.client.apply({ body, dryRun: true });
  const made = documents[0]!.steps.filter(({ kind }) => kind === 'Instance');
  expect(made.map(({ text }) => text)).toEqual([expect.stringContaining('create instance web-0 on west')]);
  await harness.client.apply({ body });
  await runs(['web-0 west']);
  await attach('bus', null);
  await eventually(show, ({ status }) => status.sites?.[0]?.wanted === 0);
  const { unwantedSince } = (await show()).status.sites![0]!;
  await harness.restart();
  for (const node of nodes) await node.stop();
  await eventually(show, ({ status }) => status.replicas === 0 && status.sites?.length === 0);
  expect(Date.now() - Date.parse(unwantedSince!)).toBeGreaterThanOrEqual(6000);
});

test('a site without a node is served by the nearest one, and several such count once', async () => {
  await attach('bus', 'cell');
  await attach('car', 'tower-2');
  await put('web', { perSite: 2 });
  await runs(['web-0 east', 'web-1 east']);
  await put('web', { perSite: 1 });
  await runs(['web-0 east']);
});

test('only the clients that it is near to count, and what is full or too far is not wanted', async () => {
  const near = { clients: { fleet: 'blue' } };
  await put('web', {}, { placement: { near } });
  expect((await show()).status).toMatchObject({ replicas: 0, sites: [] });
  await harness.client.client.patch({ name: 'bus', body: { metadata: { labels: { fleet: 'blue' } } } });
  await runs(['web-0 west']);
  await put('far', {}, { placement: { maxLatency: '2ms', nodeSelector: { site: 'east' } } });
  await put('big', {}, { resources: { memory: '900GiB' } });
  expect((await show('big')).status).toMatchObject({ replicas: 0, sites: [] });
  const { status } = await show('far');
  expect(status).toMatchObject({ replicas: 0, reason: 'no site takes it for the clients at tower-1' });
});

test('one at every site with nodes, or only at those with a label, as nodes come and are drained', async () => {
  await put('web', { where: 'nodes' });
  await runs(['web-0 east', 'web-1 west']);
  await harness.client.node.patch({ name: 'west', body: { spec: { drain: true } } });
  await runs(['web-0 east']);
  // its number is free again when its node has said that it is gone
  await eventually(
    async () => (await harness.client.instance.list({ project })).items.length,
    (left) => left === 1,
  );
  await harness.client.node.patch({ name: 'west', body: { spec: { drain: false } } });
  await runs(['web-0 east', 'web-1 west']);
  await harness.client.site.patch({ name: 'west', body: { metadata: { labels: { tier: 'gold' } } } });
  await put('web', { where: 'nodes', sites: { tier: 'gold' } });
  await runs(['web-1 west']);
});

test('a node that is drained leaves its clients to the nearest other site, which serves first', async () => {
  await put('web');
  await runs(['web-0 west']);
  await harness.client.node.patch({ name: 'west', body: { spec: { drain: true } } });
  await runs(['web-1 east']);
  await harness.client.node.patch({ name: 'east', body: { spec: { drain: true } } });
  await eventually(show, ({ status }) => /no site takes it/.test(status.reason ?? ''));
  expect(await running()).toEqual(['web-1 east']);
});

test('a node that is lost for too long leaves its clients to the nearest other site', async () => {
  await put('web', {}, { placement: { replaceAfter: '1ms' } });
  await runs(['web-0 west']);
  await nodes[0]!.stop();
  await eventually(running, (found) => found.includes('web-1 east'));
});

test('a number of replicas becomes one for each site and the other way round; what serves goes on', async () => {
  await attach('car', 'tower-2');
  await harness.client.workload.put({ project, name: 'web', body: workload('web', { replicas: 3 }) });
  await eventually(running, (found) => found.length === 3);
  const first = (await harness.client.instance.list({ project })).items;
  await put('web');
  await eventually(running, (found) => found.length === 2);
  const uids = first.map(({ metadata }) => metadata.uid);
  const west = (await harness.client.instance.list({ project })).items;
  expect(west.some(({ metadata }) => uids.includes(metadata.uid))).toBe(true);
  await harness.client.workload.patch({ project, name: 'web', body: { spec: { replicas: 2 } } });
  await eventually(show, ({ status }) => status.sites === undefined && status.ready === 2);
});

test('a stopped, a restarted and a deleted one are so at every site', async () => {
  await attach('car', 'tower-2');
  await put('web');
  await runs(['web-0 east', 'web-1 west']);
  await harness.client.workload.stop({ project, name: 'web' });
  await runs([]);
  await harness.client.workload.start({ project, name: 'web' });
  await runs(['web-0 east', 'web-1 west']);
  await put('web', {}, { env: { V: '2' } });
  await eventually(show, ({ status }) => status.sites?.every(({ ready }) => ready === 1) === true);
  const explained = await harness.client.workload.explain({ project, name: 'web', instance: 'web-1' });
  expect(explained.sites?.map(({ site }) => site)).toEqual(['east', 'west']);
  expect(explained.text).toContain('on west');
  await harness.client.workload.delete({ project, name: 'web' });
  await eventually(
    async () => (await harness.client.workload.list({ project })).items.length,
    (left) => left === 0,
  );
});

test('what can not be had at each site is refused with its field and line', async () => {
  const refused = async (spec: string) => {
    const body = `apiVersion: skerry/v1\nkind: Workload\nmetadata: { name: web }\nspec:\n  runtime: sim\n  image: sim\n${spec}`;
    const error = await harness.client.apply({ body }).then(
      () => undefined,
      (one: unknown) => one,
    );
    expect(error).toBeInstanceOf(SkerryError);
    return (error as SkerryError).message;
  };
  expect(await refused('  replicas: { perSite: 1 }\n  singleInstance: true\n')).toMatch(
    /line 7.*spec\.replicas/s,
  );
  expect(await refused('  replicas: { perSite: 0 }\n')).toMatch(
    /line 7.*spec\.replicas\.perSite: 0 is too small/s,
  );
  expect(await refused('  replicas: { perSite: 1, where: moon }\n')).toMatch(/line 7.*spec\.replicas/s);
  expect(await refused('  replicas: { perSite: 1, often: true }\n')).toMatch(/line 7.*spec\.replicas/s);
  expect(await refused('  replicas: many\n')).toMatch(/line 7.*must be a whole number or a map of fields/s);
  expect(await refused('  replicas: { perSite: 1 }\n  volumes: [{ name: data, mount: /data }]\n')).toMatch(
    /line 7.*volume data is on one node/s,
  );
  expect(await refused('  replicas: { perSite: 1 }\n  placement: { spread: site }\n')).toMatch(/line 8/);
});
