import { SkerryError } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
const NETWORK = `
apiVersion: skerry/v1
kind: Site
metadata: { name: harbour }
spec: {}
---
apiVersion: skerry/v1
kind: Site
metadata: { name: hill }
spec: {}
---
apiVersion: skerry/v1
kind: Site
metadata: { name: centre }
spec: {}
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: tower-1 }
spec: { type: radio-tower, site: harbour }
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: tower-2 }
spec: { type: radio-tower, site: hill }
---
apiVersion: skerry/v1
kind: Link
metadata: { name: coast }
spec: { between: [harbour, hill], latency: 4ms }
---
apiVersion: skerry/v1
kind: Link
metadata: { name: uplink }
spec: { between: [harbour, centre], latency: 20ms }
---
apiVersion: skerry/v1
kind: Client
metadata: { name: ferry, labels: { fleet: ferries } }
spec: { attachedTo: tower-2 }
`;
const SITES = ['harbour', 'hill', 'centre'];

let harness: Harness;
let nodes: FakeNode[];
beforeEach(async () => {
  harness = await startHarness({ node: false });
  nodes = [];
  for (const [at, site] of SITES.entries()) {
    const memoryMiB = site === 'centre' ? 8192 : 1024;
    nodes.push(
      await startFakeNode(harness.controller.link, {
        name: `at-${site}`,
        subnet: `10.90.${at}.0/24`,
        memoryMiB,
      }),
    );
  }
  await harness.client.apply({ body: NETWORK });
  for (const site of SITES) await harness.client.node.patch({ name: `at-${site}`, body: { spec: { site } } });
});
afterEach(async () => {
  for (const node of nodes) await node.stop();
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const put = (name: string, placement: object, more: object = {}) =>
  harness.client.workload.put({ project, name, body: workload(name, { placement, ...more }) });
const nodesOf = async (name: string) => {
  const { items } = await harness.client.instance.list({ project, workload: name });
  return items.map(({ spec }) => spec.node?.replace('at-', ''));
};
const refusal = async (request: Promise<unknown>): Promise<SkerryError> => {
  const error = await request.then(
    () => undefined,
    (one: unknown) => one,
  );
  expect(error).toBeInstanceOf(SkerryError);
  return error as SkerryError;
};

test('near an access point, or near the clients that carry a label: the nearest node with room', async () => {
  await put('a', { near: { accessPoints: ['tower-1'] } });
  expect(await nodesOf('a')).toEqual(['harbour']);
  await put('b', { near: { clients: { fleet: 'ferries' } } });
  expect(await nodesOf('b')).toEqual(['hill']);
  await put('big', { near: { accessPoints: ['tower-1'] } }, { resources: { memory: '2GiB' } });
  expect(await nodesOf('big')).toEqual(['centre']);
  await put('free', {});
  expect(await nodesOf('free')).toEqual(['centre']);
});

test('a bound on latency is never broken: the refusal names the best that could be had and what is in the way', async () => {
  const demand = { near: { accessPoints: ['tower-1'] }, maxLatency: '5ms' };
  const error = await refusal(put('big', demand, { resources: { memory: '2GiB' } }));
  expect(error.code).toBe('quota_exceeded');
  expect(error.message).toMatch(/best that could be had is 20ms on at-centre.*link uplink with 20ms/);
  expect(error.message).toMatch(/big-0 needs 2GiB of memory.*at-harbour has/);
  await put('small', demand, { replicas: 2 });
  for (const site of await nodesOf('small')) expect(['harbour', 'hill']).toContain(site);
});

test('spread, selectors, taints and tolerations, affinity and anti-affinity are held', async () => {
  await put('spread', { near: { accessPoints: ['tower-1'] }, spread: 'site' }, { replicas: 3 });
  expect((await nodesOf('spread')).sort()).toEqual(['centre', 'harbour', 'hill']);
  await put('apart', { spread: 'node' }, { replicas: 3 });
  expect((await nodesOf('apart')).sort()).toEqual(['centre', 'harbour', 'hill']);
  await put('there', { nodeSelector: { site: 'hill' } });
  expect(await nodesOf('there')).toEqual(['hill']);
  await harness.client.node.patch({ name: 'at-centre', body: { spec: { taints: [{ key: 'gpu' }] } } });
  await put('plain', { near: { accessPoints: ['tower-2'] }, antiAffinity: [{ workload: 'there' }] });
  expect(await nodesOf('plain')).toEqual(['harbour']);
  const error = await refusal(put('never', { nodeSelector: { site: 'centre' } }));
  expect(error.message).toMatch(/taint gpu/);
  await put('gpu', { nodeSelector: { site: 'centre' }, tolerations: [{ key: 'gpu' }] });
  expect(await nodesOf('gpu')).toEqual(['centre']);
  await put('beside', { affinity: [{ workload: 'there', at: 'site' }] });
  expect(await nodesOf('beside')).toEqual(['hill']);
});

test('the access network and what is to be near it come in one manifest', async () => {
  const body = `${NETWORK.replaceAll('tower-1', 'tower-9')
    .replaceAll(/name: (harbour|hill|centre|coast|uplink|ferry|tower-2)/g, 'name: new-$1')
    .replaceAll('attachedTo: tower-2', 'attachedTo: new-tower-2')}---
apiVersion: skerry/v1
kind: Workload
metadata: { name: new }
spec: { runtime: sim, image: sim, placement: { near: { accessPoints: [tower-9] } } }
`;
  await harness.client.apply({ body });
  await eventually(
    () => nodesOf('new'),
    (found) => found[0] === 'harbour',
  );
  const error = await refusal(put('typo', { near: { accessPoints: ['tower-1', 'tower-8'] } }));
  expect(error.message).toContain('spec.placement.near.accessPoints[1]');
});

test('a link that goes down, or a node that comes nearer, changes where the next one is placed', async () => {
  await harness.client.link.patch({ name: 'coast', body: { spec: { down: true } } });
  await put(
    'far',
    { near: { accessPoints: ['tower-2'] }, nodeSelector: { arch: 'amd64' }, maxLatency: '10ms' },
    { resources: { memory: '600MiB' } },
  );
  expect(await nodesOf('far')).toEqual(['hill']);
  const error = await refusal(
    put(
      'second',
      { near: { accessPoints: ['tower-2'] }, maxLatency: '10ms' },
      { resources: { memory: '600MiB' } },
    ),
  );
  expect(error.message).toContain('at-hill has');
  await harness.client.link.patch({ name: 'coast', body: { spec: { down: false } } });
  await put(
    'second',
    { near: { accessPoints: ['tower-2'] }, maxLatency: '10ms' },
    { resources: { memory: '600MiB' } },
  );
  expect(await nodesOf('second')).toEqual(['harbour']);
});

test('a higher priority ends what is lower where there is no room, and that goes elsewhere', async () => {
  await put('low', { near: { accessPoints: ['tower-1'] } }, { resources: { memory: '700MiB' } });
  expect(await nodesOf('low')).toEqual(['harbour']);
  const same = await refusal(
    put('same', { nodeSelector: { site: 'harbour' } }, { resources: { memory: '700MiB' } }),
  );
  expect(same.code).toBe('quota_exceeded');
  await put('high', { nodeSelector: { site: 'harbour' } }, { resources: { memory: '700MiB' }, priority: 10 });
  await eventually(
    async () => [await nodesOf('high'), await nodesOf('low')].flat(),
    (found) => found[0] === 'harbour' && found[1] === 'hill',
  );
  const { items } = await harness.client.event.list({ kind: 'Instance', name: 'low-0' });
  expect(items.find(({ reason }) => reason === 'Preempted')?.message).toMatch(/needed by high-0/);
});

test('explain and plan tell for every node why or why not', async () => {
  const demand = { near: { accessPoints: ['tower-1'] }, maxLatency: '5ms' };
  await put('web', demand, { resources: { memory: '100MiB' } });
  const told = await harness.client.workload.explain({ project, name: 'web' });
  expect(told.text).toBe('it is where it would be placed now: on at-harbour');
  expect(told.nodes.map(({ node, fits, latencyMs }) => [node, fits, latencyMs])).toEqual([
    ['at-harbour', true, 0],
    ['at-hill', true, 4],
    ['at-centre', false, 20],
  ]);
  expect(told.nodes[2]!.reasons).toMatchObject([
    { code: 'latency', text: expect.stringContaining('20ms away') },
  ]);
  const plan = await harness.client.apply({
    dryRun: true,
    body: JSON.stringify(workload('next', { placement: demand })),
  });
  const [step] = plan.documents[0]!.steps.filter(({ kind }) => kind === 'Instance');
  expect(step!.why).toEqual([
    'best at-harbour: 0ms away',
    'also at-hill: 4ms away',
    expect.stringMatching(/^not at-centre: .*20ms away/),
  ]);
  expect(await nodesOf('next')).toEqual([]);
});

test('volumes bind their workload to a node, and are made where its first instance goes', async () => {
  const body = {
    apiVersion: 'skerry/v1' as const,
    kind: 'Volume' as const,
    metadata: { name: 'data' },
    spec: { size: '1GiB' },
  };
  await harness.client.volume.put({ project, name: 'data', body });
  expect((await harness.client.volume.show({ project, name: 'data' })).status.node).toBeUndefined();
  const volumes = [{ name: 'data', mount: '/data' }];
  await put('first', { near: { accessPoints: ['tower-2'] } }, { volumes });
  expect(await nodesOf('first')).toEqual(['hill']);
  expect((await harness.client.volume.show({ project, name: 'data' })).status.node).toBe('at-hill');
  await put('second', { near: { accessPoints: ['tower-1'] } }, { volumes });
  expect(await nodesOf('second')).toEqual(['hill']);
});
