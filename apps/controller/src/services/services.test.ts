import type { DesiredNetwork, ServiceRoute } from '@skerry/contract';
import { serviceAddress6 } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
const PORTS = [{ name: 'http', port: 80 }];
const site = (name: string) =>
  `apiVersion: skerry/v1\nkind: Site\nmetadata: { name: ${name} }\nspec: {}\n---\n`;

let harness: Harness;
let nodes: FakeNode[];
beforeEach(async () => {
  harness = await startHarness({ node: false });
  nodes = [];
  for (const at of [0, 1, 2])
    nodes.push(
      await startFakeNode(harness.controller.link, {
        ...{ name: `n${at}`, subnet: `10.90.${at}.0/24`, underlay: `192.0.2.${at + 1}` },
      }),
    );
});
afterEach(async () => {
  for (const node of nodes) await node.stop();
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const put = (name: string, node: string, spec: object = {}) =>
  harness.client.workload.put({
    ...{ project, name },
    body: workload(name, { ports: PORTS, placement: { nodeSelector: { node } }, ...spec }),
  });
const seen = (at: number): DesiredNetwork | undefined => nodes[at]!.seen.at(-1)?.network;
const when = (at: number, good: (network: DesiredNetwork) => boolean) =>
  eventually(
    async () => seen(at),
    (network) => network !== undefined && good(network),
  );

test('a workload with ports has an address of its own, that stays and that no other has', async () => {
  const one = await put('a', 'n0');
  const other = await put('b', 'n0');
  const { serviceAddress } = one.status;
  expect(serviceAddress).toMatch(/^198\.1[89]\.\d+\.\d+$/);
  expect(other.status.serviceAddress).not.toBe(serviceAddress);
  const changed = await put('a', 'n0', { env: { A: 'b' } });
  expect(changed.status.serviceAddress).toBe(serviceAddress);
  expect((await put('c', 'n0', { ports: [] })).status.serviceAddress).toBeUndefined();
  await harness.restart();
  expect((await harness.client.workload.show({ project, name: 'a' })).status.serviceAddress).toBe(
    serviceAddress,
  );
});

test('every node learns of the healthy instances, the nearest first, and how their nodes are reached', async () => {
  await harness.client.apply({
    body: `${site('here')}${site('near')}${site('far')}apiVersion: skerry/v1
kind: Link
metadata: { name: short }
spec: { between: [here, near], latency: 2ms }
---
apiVersion: skerry/v1
kind: Link
metadata: { name: long }
spec: { between: [near, far], latency: 20ms }
`,
  });
  for (const [at, name] of ['here', 'near', 'far'].entries())
    await harness.client.node.patch({ name: `n${at}`, body: { spec: { site: name } } });
  await put('web', 'n1');
  await harness.client.workload.put({
    ...{ project, name: 'web' },
    body: workload('web', { ports: PORTS, replicas: 2, placement: { spread: 'node', nodeSelector: {} } }),
  });
  const network = await when(0, ({ services }) => services[0]?.endpoints.length === 2);
  const [route] = network!.services;
  expect(route!.ports).toEqual([{ name: 'http', port: 80, targetPort: 80, protocol: 'tcp' }]);
  const latencies = { n0: 0, n1: 2000, n2: 22_000 } as Record<string, number>;
  for (const { node, latencyUs } of route!.endpoints) expect(latencyUs).toBe(latencies[node]);
  expect(network!.peers).toContainEqual({ node: 'n1', address: '192.0.2.2', subnet: '10.90.1.0/24' });
  // Who is led to a node is known there, too, or no answer would find its way.
  const there = await when(1, ({ peers }) => peers.some(({ node }) => node === 'n0'));
  expect(there!.services[0]!.endpoints.find(({ node }) => node === 'n1')).toMatchObject({ latencyUs: 0 });
});

test('a container has an address of IPv6 where its node has a network of it, and so has its service', async () => {
  await startFakeNode(harness.controller.link, {
    name: 'v6',
    subnet: '10.90.9.0/24',
    underlay: '192.0.2.9',
    subnet6: 'fd01:2:3:9::/64',
  }).then((node) => nodes.push(node));
  await harness.client.image.import({ project, reference: 'hello', body: Buffer.from('one') });
  const spec = { runtime: 'container', image: 'hello' };
  const { status } = await put('web', 'v6', spec);
  const network = await when(3, ({ services }) => services[0]?.endpoints[0]?.healthy === true);
  const [{ address6, endpoints }] = network!.services as [ServiceRoute];
  expect(address6).toBe(serviceAddress6(status.serviceAddress!));
  expect(endpoints[0]!.address6).toBe(`fd01:2:3:9::${endpoints[0]!.address.split('.').at(-1)}`);
  await put('plain', 'n0', spec); // whose node has none: so has the guest
  await put('other', 'v6', { runtime: 'sim' }); // a guest of which nobody knows
  const all = await when(
    3,
    ({ services }) => services.filter((one) => one.endpoints[0]?.healthy).length === 3,
  );
  const found = Object.fromEntries(
    all!.services.map((one) => [
      one.name,
      [one.address6 !== undefined, one.endpoints[0]!.address6 !== undefined],
    ]),
  );
  expect(found).toEqual({ web: [true, true], plain: [true, false], other: [false, false] });
  const [peer] = (await when(0, ({ peers }) => peers.some(({ node }) => node === 'v6')))!.peers.filter(
    ({ node }) => node === 'v6',
  );
  expect(peer).toMatchObject({ subnet6: 'fd01:2:3:9::/64' });
});

test('an instance that is unwell or goes takes no new connections, and the nodes hear of it', async () => {
  await put('web', 'n1');
  await when(0, ({ services }) => services[0]?.endpoints[0]?.healthy === true);
  nodes[1]!.phases.set('web-0', 'failed');
  await nodes[1]!.report();
  await when(0, ({ services }) => services[0]?.endpoints.length === 0);
  nodes[1]!.phases.delete('web-0');
  await nodes[1]!.report();
  await when(0, ({ services }) => services[0]?.endpoints[0]?.healthy === true);
  nodes[1]!.holdRemoval = true;
  await harness.client.workload.delete({ project, name: 'web' });
  await when(0, ({ services }) => services[0]?.endpoints[0]?.healthy === false);
  nodes[1]!.holdRemoval = false;
  await nodes[1]!.report();
  await when(0, ({ services, peers }) => services.length === 0 && peers.length === 0);
});

test('nodes that have nothing to do with each other are no peers', async () => {
  await put('quiet', 'n0', { ports: [] });
  await put('still', 'n0', { ports: [], image: 'sim' });
  expect(seen(1)?.peers ?? []).toEqual([]);
  await put('quiet-too', 'n1', { ports: [] });
  await when(1, ({ peers }) => peers.length === 1 && peers[0]!.node === 'n0');
  expect(seen(2)?.peers ?? []).toEqual([]);
});
