import { SkerryError } from '@skerry/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, startHarness } from '../testing/harness.ts';

const HARBOUR = `
apiVersion: skerry/v1
kind: Client
metadata: { name: phone-1, labels: { fleet: red } }
spec: { attachedTo: tower-1, address: 192.0.2.7 }
---
apiVersion: skerry/v1
kind: Link
metadata: { name: backhaul }
spec: { between: [tower-1, harbour], latency: 1ms, bandwidth: 1Gbit, loss: 0 }
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: tower-1 }
spec: { type: radio-tower, location: { lat: 59.9, lon: 10.7 } }
---
apiVersion: skerry/v1
kind: AccessPoint
metadata: { name: tower-2 }
spec: { type: radio-tower, site: harbour }
---
apiVersion: skerry/v1
kind: Site
metadata: { name: harbour }
spec: { location: { lat: 59.91, lon: 10.72 } }
`;

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const refusal = async (request: Promise<unknown>): Promise<SkerryError> => {
  const error = await request.then(
    () => undefined,
    (one: unknown) => one,
  );
  expect(error).toBeInstanceOf(SkerryError);
  return error as SkerryError;
};
const apply = (body: string) => harness.client.apply({ body });

test('an access network is applied whole, in any order, and shows who stands and who attaches where', async () => {
  const { documents } = await apply(HARBOUR);
  expect(documents.map(({ kind, outcome }) => [kind, outcome])).toEqual([
    ['Client', 'created'],
    ['Link', 'created'],
    ['AccessPoint', 'created'],
    ['AccessPoint', 'created'],
    ['Site', 'created'],
  ]);
  await harness.client.node.patch({ name: 'local', body: { spec: { site: 'harbour' } } });
  const site = await harness.client.site.show({ name: 'harbour' });
  expect(site.status).toEqual({ nodes: ['local'], accessPoints: 1 });
  const tower = await harness.client['access-point'].show({ name: 'tower-1' });
  expect(tower.status).toEqual({ clients: 1, nearest: { site: 'harbour', latencyMs: 1 } });
  expect((await apply(HARBOUR)).documents.every(({ outcome }) => outcome === 'unchanged')).toBe(true);
});

test('a client that moves is a handover: counted, dated and told as an event', async () => {
  await apply(HARBOUR);
  const moved = await harness.client.client.patch({
    name: 'phone-1',
    body: { spec: { attachedTo: 'tower-2' } },
  });
  expect(moved.status.handovers).toBe(1);
  expect(moved.status.attachedAt).toBeDefined();
  const { items } = await harness.client.event.list({ kind: 'Client', name: 'phone-1' });
  expect(items.map(({ reason, message }) => [reason, message])).toEqual([
    ['Created', 'client phone-1 was created'],
    ['Handover', 'client phone-1 moved from tower-1 to tower-2'],
  ]);
});

test.each([
  [
    'a link to nowhere',
    'kind: Link\nmetadata: { name: x }\nspec: { between: [tower-1, nowhere], latency: 1ms }',
    /spec\.between\[1\].*no site or access point "nowhere"/,
  ],
  [
    'a link from a place to itself',
    'kind: Link\nmetadata: { name: x }\nspec: { between: [tower-1, tower-1], latency: 1ms }',
    /named twice/,
  ],
  [
    'a client at a site',
    'kind: Client\nmetadata: { name: x }\nspec: { attachedTo: harbour }',
    /no access point "harbour"/,
  ],
  [
    'an address that is none',
    'kind: Client\nmetadata: { name: x }\nspec: { address: 1.2.3.400 }',
    /no IPv4 or IPv6/,
  ],
  [
    'an IPv6 address that is none',
    'kind: Client\nmetadata: { name: x }\nspec: { address6: 192.0.2.8 }',
    /spec\.address6.*no IPv6 address/,
  ],
  [
    'an address twice',
    'kind: Client\nmetadata: { name: x }\nspec: { address: 192.0.2.7 }',
    /address of the client phone-1/,
  ],
  [
    'a site with the name of an access point',
    'kind: Site\nmetadata: { name: tower-1 }\nspec: {}',
    /name of an existing access point/,
  ],
  [
    'an access point in a project',
    'kind: AccessPoint\nmetadata: { name: x, project: default }\nspec: { type: wifi }',
    /belongs to no project/,
  ],
  [
    'a node at no site',
    'kind: Node\nmetadata: { name: local }\nspec: { site: nowhere }',
    /no site "nowhere"/,
  ],
])('refused with its line, and nothing of it is kept: %s', async (_, document, message) => {
  await apply(HARBOUR);
  const before = (await harness.client.status()).revision;
  const error = await refusal(apply(`apiVersion: skerry/v1\n${document}\n`));
  expect(error.message).toMatch(message);
  expect(error.message).toMatch(/line \d/);
  expect((await harness.client.status()).revision).toBe(before);
});

test('what is needed is not deleted, and says by whom; in the right order all goes', async () => {
  await apply(HARBOUR);
  const error = await refusal(harness.client['access-point'].delete({ name: 'tower-1' }));
  expect(error.code).toBe('in_use');
  expect(error.details.by).toEqual(['link backhaul', 'client phone-1']);
  const { documents } = await harness.client.delete({ body: HARBOUR });
  expect(documents.every(({ outcome }) => outcome === 'deleted')).toBe(true);
  expect((await harness.client.site.list()).items).toEqual([]);
});
