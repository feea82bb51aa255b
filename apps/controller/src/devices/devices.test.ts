// Devices and streams over the real controller: secrets are answered once, shadows outlast everything, nodes are told all.
import { randomBytes, scryptSync, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { DeviceReport, FeedItem } from '@skerry/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually, type Harness, startHarness } from '../testing/harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

const project = 'default';
const head = (kind: string, name: string) =>
  `---\napiVersion: skerry/v1\nkind: ${kind}\nmetadata: { name: ${name} }\n`;
const STREAM = `${head('Stream', 'readings')}spec:
  from: { topics: ['%d/temp'] }
  steps:
    - filter: celsius > 10
  to:
    - mqtt: { url: 'mqtt://upstream.example', topic: 'up/%d', username: u, password: SECRET-ONE }
    - webhook: { url: 'https://hook.example/x', token: SECRET-TWO }
`;
const apply = (body: string) => harness.client.apply({ body });
const report = (more: Partial<DeviceReport>): DeviceReport => ({
  devices: [],
  streams: [],
  listening: ['mqtt://192.0.2.1:1883'],
  ...more,
});
const tell = (more: Partial<DeviceReport>, node = 'local') =>
  harness.controller.link.devices!(node, report(more));

/** What a node is told from a revision until it is up to date. */
async function told(since = 0): Promise<FeedItem[]> {
  const items: FeedItem[] = [];
  for await (const item of harness.controller.link.deviceFeed!('local', since, AbortSignal.timeout(10_000))) {
    items.push(item);
    if (item.type === 'synced') break;
  }
  return items;
}
const putsOf = (items: readonly FeedItem[]) =>
  items.flatMap((item) => (item.type === 'put' && item.object.kind !== 'project' ? [item.object] : []));

test('a password is answered once, has 32 characters, and nodes are told its hash; rotate ends the former', async () => {
  const made = await harness.client.device.create({
    project,
    body: { name: 'th-1', labels: { room: 'a' }, spec: { attributes: { floor: 2 } } },
  });
  expect(made.password).toMatch(/^[A-Za-z0-9_-]{32}$/);
  expect(made).toMatchObject({ username: 'default/th-1', device: { status: { connected: false } } });
  expect(made.authority).toContain('BEGIN CERTIFICATE');
  const [first] = putsOf(await told());
  expect(first).toMatchObject({
    kind: 'device',
    name: 'th-1',
    labels: { room: 'a' },
    credentials: { version: 1 },
  });
  const hash = (first as { credentials: { password: string } }).credentials.password;
  const [scheme, N, r, p, salt, wanted] = hash.split('$') as string[];
  expect(scheme).toBe('scrypt');
  const again = scryptSync(made.password!, Buffer.from(salt!, 'base64'), 32, { N: +N!, r: +r!, p: +p! });
  expect(again.toString('base64')).toBe(wanted);
  const shown = JSON.stringify(await harness.client.device.show({ project, name: 'th-1' }));
  expect(shown).not.toContain(hash);
  expect(shown).not.toContain('scrypt');
  await expect(harness.client.device.create({ project, body: { name: 'th-1' } })).rejects.toMatchObject({
    code: 'already_exists',
  });
  const rotated = await harness.client.device.rotate({ project, name: 'th-1', body: {} });
  expect(rotated.password).not.toBe(made.password);
  const [second] = putsOf(await told());
  expect(second).toMatchObject({ credentials: { version: 2 } });
  expect((second as typeof first & { credentials: { password: string } }).credentials.password).not.toBe(
    hash,
  );
});

test('a device of a manifest has nothing to prove itself with until rotate; an access point that is none is named with its line', async () => {
  await apply(`${head('Device', 'bare')}spec: {}\n`);
  expect(putsOf(await told())).toMatchObject([{ credentials: { version: 0 } }]);
  await expect(apply(`${head('Device', 'x')}spec:\n  attachedTo: nowhere\n`)).rejects.toMatchObject({
    code: 'manifest_invalid',
    details: { errors: [{ line: 6, field: 'spec.attachedTo' }] },
  });
  await harness.client.device.rotate({ project, name: 'bare', body: {} });
  expect(putsOf(await told())).toMatchObject([{ credentials: { version: 1 } }]);
});

test('a certificate is signed by an authority of the project, which nodes are told; key and certificate fit each other', async () => {
  const made = await harness.client.device.create({
    project,
    body: { name: 'cam', spec: { auth: 'certificate' } },
  });
  const certificate = new X509Certificate(made.certificate!);
  expect(made.key).toContain('PRIVATE KEY');
  expect(certificate.subject.split('\n').sort()).toEqual(['CN=cam', 'O=default']);
  const items = await told();
  const authority = items.flatMap((item) =>
    item.type === 'put' && item.object.kind === 'project' ? item.object.authorities : [],
  )[0]!;
  expect(certificate.verify(new X509Certificate(authority).publicKey)).toBe(true);
  expect(putsOf(items)).toMatchObject([
    { credentials: { fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase() } },
  ]);
  await harness.restart();
  await harness.client.device.rotate({ project, name: 'cam', body: {} });
  const after = (await told()).find((item) => item.type === 'put' && item.object.kind === 'project');
  expect(after).toMatchObject({ object: { authorities: [authority] } });
});

test('secrets of sinks are kept, told to nodes, left out of every answer, and stay when they are left out', async () => {
  await apply(STREAM);
  expect(putsOf(await told())).toMatchObject([
    { spec: { to: [{ mqtt: { password: 'SECRET-ONE' } }, { webhook: { token: 'SECRET-TWO' } }] } },
  ]);
  const bare = STREAM.replace(', password: SECRET-ONE', '').replace(', token: SECRET-TWO', '');
  expect((await apply(bare)).documents[0]!.outcome).toBe('unchanged');
  await apply(bare.replace('celsius > 10', 'celsius > 11'));
  expect(putsOf(await told())).toMatchObject([
    {
      generation: 2,
      spec: { to: [{ mqtt: { password: 'SECRET-ONE' } }, { webhook: { token: 'SECRET-TWO' } }] },
    },
  ]);
  // to another place it does not go
  await apply(bare.replace('hook.example', 'other.example'));
  const [moved] = putsOf(await told());
  expect(JSON.stringify(moved)).not.toContain('SECRET-TWO');
  const answers = [
    await harness.client.stream.show({ project, name: 'readings' }),
    await harness.client.stream.list({ project }),
    await harness.client.event.list({}),
    await harness.client.stream.patch({ project, name: 'readings', body: { spec: { paused: true } } }),
  ];
  const abort = new AbortController();
  for await (const message of harness.client.watch('stream.list', { project }, { signal: abort.signal })) {
    answers.push(message as never);
    if (message.type !== 'put') break;
  }
  abort.abort();
  expect(answers.length).toBeGreaterThan(4);
  expect(JSON.stringify(answers)).not.toContain('SECRET');
  const wrong = STREAM.replace("topic: 'up/%d', ", '').replace('SECRET-TWO', '[SECRET-TWO]');
  const error = await apply(wrong).catch((one) => one);
  expect(error).toMatchObject({ code: 'manifest_invalid' });
  expect(JSON.stringify([error.message, error.details])).not.toContain('SECRET');
});

test('what is wrong with a stream is told with field and line: the schema, its steps, its guest, its stream, secrets in a URL', async () => {
  const refused = async (text: string) => (await apply(text).catch((one) => one)).details?.errors;
  expect(await refused(STREAM.replace('celsius > 10', 'celsius >'))).toMatchObject([
    { line: 8, field: 'spec.steps[0].filter' },
  ]);
  expect(await refused(STREAM.replace('filter: celsius > 10', 'guest: { workload: none }'))).toMatchObject([
    { line: 8, field: 'spec.steps[0].guest.workload' },
  ]);
  expect(await refused(STREAM.replace("topic: 'up/%d', ", ''))).toMatchObject([
    { line: 10, field: 'spec.to[0].mqtt.topic', message: 'is missing' },
  ]);
  expect(await refused(STREAM.replace('mqtt://up', 'mqtt://me:pw@up'))).toMatchObject([
    { field: 'spec.to[0].mqtt.url' },
  ]);
  const to = (name: string, other: string) =>
    `${head('Stream', name)}spec: { from: { streams: true }, to: [{ stream: { name: ${other} } }] }\n`;
  expect(await refused(to('a', 'b') + to('b', 'a'))).toMatchObject([{ field: 'spec.to[0].stream.name' }]);
  expect(await refused(to('a', 'none'))).toMatchObject([{ field: 'spec.to[0].stream.name' }]);
});

test('what is used stays: a guest of a stream, a stream that another one sends to, an access point of a device', async () => {
  const guest = `${head('Workload', 'judge')}spec: { runtime: sim, image: sim }\n`;
  const first = `${head('Stream', 'first')}spec: { from: { topics: [a] }, steps: [{ guest: { workload: judge } }], to: [{ stream: { name: second } }] }\n`;
  const second = `${head('Stream', 'second')}spec: { from: { streams: true }, to: [{ file: { name: out } }] }\n`;
  const place = `${head('AccessPoint', 'tower')}spec: { type: radio-tower }\n${head('Device', 'd')}spec: { attachedTo: tower }\n`;
  const file = first + second + guest + place;
  await apply(file);
  const used = { code: 'in_use' };
  await expect(harness.client.workload.delete({ project, name: 'judge' })).rejects.toMatchObject(used);
  await expect(harness.client.stream.delete({ project, name: 'second' })).rejects.toMatchObject(used);
  await expect(harness.client['access-point'].delete({ name: 'tower' })).rejects.toMatchObject(used);
  await harness.client.stream.delete({ project, name: 'first' });
  await harness.client.stream.delete({ project, name: 'second' });
  await harness.client.delete({ body: guest + place });
});

test('a shadow works while the device is away: wished, reported, what differs; bounded, versioned, conditional; over a restart', async () => {
  await apply(`${head('Device', 'lamp')}spec: {}\n`);
  const desire = (body: Record<string, unknown>, more: object = {}) =>
    harness.client.device.desire({ project, name: 'lamp', body, ...more });
  await desire({ on: true, colour: { r: 1, g: 2 } });
  const wished = await desire({ colour: { g: null } });
  expect(wished).toMatchObject({
    desired: { on: true, colour: { r: 1 } },
    versions: { desired: 2, reported: 0 },
  });
  await tell({
    devices: [
      { project, name: 'lamp', connected: true, seenAgoMs: 5, reported: { version: 1, state: { on: true } } },
    ],
  });
  const say = (version: number, state: object) =>
    tell({
      devices: [{ project, name: 'lamp', connected: true, seenAgoMs: 0, reported: { version, state } }],
    });
  const writes = async () =>
    (await harness.store.list('/resources/device-reported/')).entries[0]!.modRevision;
  const before = await writes();
  for (let version = 2; version < 50; version++) await say(version, { on: true, n: version });
  expect(await writes()).toBe(before);
  const shadow = await harness.client.device.shadow({ project, name: 'lamp' });
  expect(shadow).toMatchObject({
    reported: { on: true, n: 49 },
    delta: { colour: { r: 1 } },
    versions: { desired: 2, reported: 49 },
  });
  await harness.restart();
  expect(await harness.client.device.shadow({ project, name: 'lamp' })).toEqual(shadow);
  await expect(desire({ text: 'x'.repeat(9000) })).rejects.toMatchObject({ code: 'payload_too_large' });
  await expect(desire({ on: false }, { ifMatch: 1 })).rejects.toMatchObject({ code: 'precondition_failed' });
  expect(putsOf(await told())).toMatchObject([
    { desired: { version: 2, state: { on: true, colour: { r: 1 } } } },
  ]);
});

test('a feed goes on from a revision with what changed only, tells deletions, and begins anew when the log is gone', async () => {
  await apply(`${head('Device', 'a')}spec: {}\n${head('Device', 'b')}spec: {}\n`);
  const all = await told();
  expect(all[0]).toEqual({ type: 'reset' });
  const { revision } = all.at(-1) as { revision: number };
  await harness.client.device.delete({ project, name: 'a' });
  expect(await told(revision)).toMatchObject([
    { type: 'delete', kind: 'device', name: 'a' },
    { type: 'synced' },
  ]);
  await harness.client.device.patch({ project, name: 'b', body: { spec: { disabled: true } } });
  await harness.store.compact((await harness.store.revision()) - 1);
  expect((await told(revision))[0]).toEqual({ type: 'reset' });
});

test('a device is where it was reported last: its move is told, and its node survives a restart', async () => {
  await apply(`${head('Device', 'rover')}spec: {}\n`);
  const at = (node: string, connected: boolean) =>
    tell({ devices: [{ project, name: 'rover', connected, seenAgoMs: 0 }] }, node);
  await at('local', true);
  const shown = () => harness.client.device.show({ project, name: 'rover' });
  expect((await shown()).status).toMatchObject({ connected: true, node: 'local' });
  await at('other', true);
  await at('local', false); // the former node learns of it later
  expect((await shown()).status.node).toBe('other');
  const { items } = await harness.client.event.list({ kind: 'Device', name: 'rover' });
  expect(items.map(({ reason }) => reason)).toEqual(['Created', 'Moved']);
  await harness.restart();
  expect((await shown()).status).toMatchObject({ connected: false, node: 'other' });
});

test('a device with a certificate is taken in when the project wants it so, and else refused with one event', async () => {
  const wish = { project, name: 'new-1', fingerprint: randomBytes(32).toString('hex') };
  for (let i = 0; i < 5; i++) await tell({ enrol: [wish] });
  expect((await harness.client.device.list({ project })).items).toEqual([]);
  const refusals = () =>
    eventually(
      async () => (await harness.client.event.list({ kind: 'Project' })).items,
      (items) => items.some(({ reason }) => reason === 'EnrolmentRefused'),
    );
  expect((await refusals()).filter(({ reason }) => reason === 'EnrolmentRefused')).toHaveLength(1);
  await harness.client.project.patch({ project, body: { spec: { devices: { enrolment: 'automatic' } } } });
  await tell({ enrol: [wish, { ...wish, name: 'Not A Name' }] });
  const { items } = await harness.client.device.list({ project });
  expect(items).toMatchObject([
    {
      metadata: { name: 'new-1' },
      spec: { auth: 'certificate' },
      status: { credentials: { fingerprint: wish.fingerprint } },
    },
  ]);
});

test('counts of a stream are shown by node, and its messages at every step by tail', async () => {
  await apply(STREAM);
  const counts = { received: 9, sent: 4, waiting: 1, dropped: 0, refused: 2 };
  await tell({ streams: [{ project, name: 'readings', ...counts }] });
  expect((await harness.client.stream.show({ project, name: 'readings' })).status.nodes).toEqual([
    { node: 'local', ...counts },
  ]);
  const line = { atMs: 1, place: 'from', device: 'd', topic: 't', id: '1', value: '2' };
  harness.controller.attachNode('local', {
    ...harness.node!.link,
    async *hub(call) {
      expect(call).toEqual({ verb: 'stream-tail', project, stream: 'readings' });
      yield line;
    },
  });
  const lines = [];
  for await (const one of harness.client.stream.tail({ project, name: 'readings' })) lines.push(one);
  expect(lines).toEqual([{ node: 'local', ...line }]);
});

test('the example of devices is applied as it stands, twice the same, and deleted whole', async () => {
  const body = readFileSync(new URL('../../../../examples/devices.yaml', import.meta.url), 'utf8');
  await apply(body);
  expect((await apply(body)).documents.every(({ outcome }) => outcome === 'unchanged')).toBe(true);
  const { documents } = await harness.client.delete({ body });
  expect(documents.every(({ outcome }) => outcome === 'deleted')).toBe(true);
});
