// Devices come in over TLS, WebSocket and HTTP: hub, broker, flow and queue are the real ones; steps and sink keep it simple.
import 'reflect-metadata';
import { randomBytes, scryptSync, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import type { FeedDevice, FeedItem, FeedObject } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBroker } from '../broker/broker.ts';
import { openFlow } from '../flow/flow.ts';
import type { Item, Message } from '../message.ts';
import { openQueue } from '../queue/queue.ts';
import { Hub } from './hub.ts';
import type { HubParts } from './parts.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-ways-in-'));
const NO_SERIES = {
  sink: () => ({ kind: 'series', batch: 1, deliver: async () => undefined, close: async () => undefined }),
  call: async function* () {},
  remove: async () => undefined,
  close: async () => undefined,
};
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const delivered: { id: string; topic: string; text: string; atMs: number }[] = [];
const clients: MqttClient[] = [];
let authority: {
  pem: string;
  sign(subject: string, names?: string[]): Promise<{ cert: string; key: string }>;
};
let hub: Hub;
const urls = () => JSON.parse(readFileSync(join(folder, 'hub/listening.json'), 'utf8')).listening as string[];
const urlOf = (protocol: string) => urls().find((url) => url.startsWith(`${protocol}:`))!;

const parts: HubParts = {
  broker: ({ folder: at, listen, hooks, tls }) =>
    createBroker({ folder: at, listen, hooks, ...(tls && { tls }) }),
  flow: ({ stream, folder: at, device: known }) =>
    openFlow({
      ...{ folder: at, project: stream.project, name: stream.name, spec: stream.spec, openQueue },
      ...{ device: known, deadLetter: () => undefined, now: Date.now, sinkKey: () => 'sink' },
      compile: () => ({
        decode: ({ payload, receivedAtMs, ...rest }: Message): Item => ({
          ...{ id: rest.id, project: rest.project, device: rest.device, topic: rest.topic },
          ...{ atMs: receivedAtMs, value: payload },
        }),
        steps: [],
        priority: () => () => 0,
      }),
      makeSink: () => ({
        kind: 'file',
        batch: 100,
        async deliver(batch) {
          for (const { id, topic, payload, atMs } of batch)
            delivered.push({ id, topic, text: Buffer.from(payload).toString(), atMs });
        },
        close: async () => undefined,
      }),
    }),
  series: async () => NO_SERIES,
};

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
async function makeAuthority() {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const newKeys = async () =>
    (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const [keys, notBefore, notAfter] = [await newKeys(), new Date(0), new Date(Date.now() + 86_400_000)];
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ serialNumber: '01', name: 'CN=Test authority', notBefore, notAfter, keys },
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  return {
    pem: ca.toString('pem'),
    async sign(subject: string, names: string[] = []) {
      const own = await newKeys();
      const cert = await x509.X509CertificateGenerator.create({
        ...{ serialNumber: randomBytes(8).toString('hex'), subject, issuer: ca.subject, notBefore, notAfter },
        ...{ signingAlgorithm: ALGORITHM, signingKey: keys.privateKey, publicKey: own.publicKey },
        extensions: [
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({ type: value === 'localhost' ? 'dns' : 'ip', value })),
          ),
        ],
      });
      const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', own.privateKey);
      return { cert: cert.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
    },
  };
}

function hashOf(password: string): string {
  const salt = randomBytes(16);
  const hash = scryptSync(password, salt, 32, { N: 1024, r: 8, p: 1 });
  return `scrypt$1024$8$1$${salt.toString('base64')}$${hash.toString('base64')}`;
}
let revision = 0;
const tell = (...objects: FeedObject[]) =>
  hub.feed(objects.map((object): FeedItem => ({ type: 'put', revision: ++revision, object })));
const device = (name: string, more: Partial<FeedDevice> = {}): FeedDevice => ({
  ...{ kind: 'device', project: 'default', name, uid: `uid-${name}`, labels: {}, spec: {} },
  credentials: { version: 1, password: hashOf(`secret-${name}`) },
  ...more,
});

beforeAll(async () => {
  authority = await makeAuthority();
  const { cert, key } = await authority.sign('CN=node', ['127.0.0.1', 'localhost']);
  const [keyPath, certPath] = [join(folder, 'node.key'), join(folder, 'node.crt')];
  writeFileSync(keyPath, key);
  writeFileSync(certPath, cert);
  hub = new Hub({ folder: join(folder, 'hub'), parts, logger: silent });
  await hub.start();
  await hub.tell({
    node: 'here',
    listen: ['mqtts://127.0.0.1:0', 'mqtt://127.0.0.1:0', 'https://127.0.0.1:0'],
    tls: { key: keyPath, certificate: certPath },
    addresses: ['127.0.0.1'],
    guests: [],
  });
  tell(
    {
      kind: 'project',
      project: 'default',
      name: 'default',
      authorities: [authority.pem],
      enrolment: 'manual',
    },
    ...['a', 'b', 'c', 'd'].map((name) => device(name)),
    device('slow', { spec: { limits: { messagesPerSecond: 2, messageSize: '1KiB' } } }),
    {
      ...{ kind: 'stream', project: 'default', name: 'all', uid: 'uid-all', generation: 1 },
      spec: { from: { topics: ['devices/#'] }, to: [{ file: { name: 'out' } }] },
    },
  );
});
afterAll(async () => {
  for (const client of clients) client.end(true);
  await hub?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function connected(url: string, options: mqtt.IClientOptions): Promise<MqttClient> {
  const client = mqtt.connect(url, {
    ca: authority.pem,
    reconnectPeriod: 0,
    ...options,
  } as mqtt.IClientOptions);
  clients.push(client);
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
  });
  return client;
}
const here = (topic: string) => delivered.filter((one) => one.topic === topic);

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}
function post(name: string, body: unknown, options: object = {}): Promise<Answer> {
  const url = `${urlOf('https')}/v1/projects/default/devices/${name}/messages`;
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      url,
      { method: 'POST', ca: authority.pem, auth: `${name}:secret-${name}`, agent: false, ...options },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }));
      },
    );
    request.on('error', reject);
    request.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

test('by password over TLS, in the clear and over WebSocket, a message reaches its stream', async () => {
  for (const [url, name] of [
    [urlOf('mqtts'), 'a'],
    [urlOf('mqtt'), 'b'],
    [`${urlOf('https').replace('https', 'wss')}/mqtt`, 'c'],
  ] as const) {
    const client = await connected(url, { username: name, password: `secret-${name}` });
    await client.publishAsync(`devices/${name}/t`, name, { qos: 1 });
    await eventually(`the message of ${name} is there`, () => here(`devices/${name}/t`).length === 1);
  }
});

test('by its certificate alone; with that of another authority it is refused', async () => {
  const mine = await authority.sign('CN=a, O=default');
  const client = await connected(urlOf('mqtts'), mine);
  await client.publishAsync('devices/a/certified', 'x', { qos: 1 });
  await eventually('it is there', () => here('devices/a/certified').length === 1);
  const other = await (await makeAuthority()).sign('CN=a, O=default');
  await expect(connected(urlOf('mqtts'), other)).rejects.toThrow(/not authorized|bad user/i);
});

test('who is told another password is cut off, and comes in with the new one only', async () => {
  const client = await connected(urlOf('mqtt'), { username: 'd', password: 'secret-d' });
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  tell(device('d', { credentials: { version: 2, password: hashOf('other') } }));
  await closed;
  await expect(connected(urlOf('mqtt'), { username: 'd', password: 'secret-d' })).rejects.toThrow();
  await connected(urlOf('mqtt'), { username: 'd', password: 'other' });
});

test('messages by HTTP are durable when they are answered: one, many, bytes, with a time of their own', async () => {
  expect(await post('a', { topic: 'devices/a/http', payload: { t: 1 } })).toEqual({
    status: 202,
    body: { accepted: 1 },
  });
  const batch = [
    { topic: 'devices/a/batch', payload: 1, time: '2026-01-02T03:04:05Z' },
    { topic: 'devices/a/batch', base64: Buffer.from('two').toString('base64'), time: 1000 },
  ];
  expect(await post('a', batch)).toMatchObject({ status: 202, body: { accepted: 2 } });
  await eventually('all are there', () => here('devices/a/batch').length === 2);
  expect(here('devices/a/http')[0]?.text).toBe('{"t":1}');
  expect(here('devices/a/batch').map(({ text, atMs }) => [text, atMs])).toEqual([
    ['1', Date.parse('2026-01-02T03:04:05Z')],
    ['two', 1000],
  ]);
  expect(new Set(delivered.map(({ id }) => id)).size).toBe(delivered.length);
});

test('by HTTP a device comes in with its certificate, too', async () => {
  const mine = await authority.sign('CN=b, O=default');
  const answer = await post('b', { topic: 'devices/b/http', payload: 1 }, { ...mine, auth: undefined });
  expect(answer.status).toBe(202);
});

test.each([
  ['a wrong password', 'a', { topic: 'devices/a/x', payload: 1 }, { auth: 'a:no' }, 401],
  ['no credentials', 'a', { topic: 'devices/a/x', payload: 1 }, { auth: undefined }, 401],
  ['another device’s name', 'b', { topic: 'devices/b/x', payload: 1 }, { auth: 'a:secret-a' }, 403],
  ['another device’s topic', 'a', { topic: 'devices/b/x', payload: 1 }, {}, 403],
  ['a topic with a wildcard', 'a', { topic: 'devices/a/#', payload: 1 }, {}, 400],
  ['no payload', 'a', { topic: 'devices/a/x' }, {}, 400],
  ['no JSON', 'a', 'hello', {}, 400],
  ['null', 'a', [null], {}, 400],
  ['a time that is none', 'a', { topic: 'devices/a/x', payload: 1, time: 'soon' }, {}, 400],
  ['a time far ahead', 'a', { topic: 'devices/a/x', payload: 1, time: '2100-01-01T00:00:00Z' }, {}, 400],
  ['GET', 'a', '', { method: 'GET' }, 400],
  [
    'too many messages',
    'a',
    Array.from({ length: 1001 }, () => ({ topic: 'devices/a/x', payload: 1 })),
    {},
    413,
  ],
  ['a message beyond its limit', 'slow', { topic: 'devices/slow/x', payload: 'x'.repeat(2000) }, {}, 413],
])('%s is refused by HTTP, and nothing of it is taken', async (_, name, body, options, status) => {
  const answer = await post(name, body, options);
  expect(answer).toMatchObject({ status, body: { status } });
  expect(here('devices/a/x')).toEqual([]);
});

test('more messages a second than a device may send are to be sent again', async () => {
  const answers: Answer[] = [];
  for (let i = 0; i < 6; i++) answers.push(await post('slow', { topic: 'devices/slow/t', payload: i }));
  const statuses = answers.map(({ status }) => status);
  expect(statuses.slice(0, 2)).toEqual([202, 202]);
  expect(answers.find(({ status }) => status === 429)?.body).toEqual({ accepted: 0, again: [0] });
});

test('a device keeps its shadow over MQTT, also one that subscribes after it was wished something', async () => {
  tell(device('c', { desired: { version: 2, state: { rate: 5 } } }));
  const client = await connected(urlOf('mqtt'), { username: 'c', password: 'secret-c', clientId: 'shadow' });
  const heard: [string, unknown][] = [];
  client.on('message', (topic, payload) =>
    heard.push([topic.split('/').at(-1)!, payload.length > 0 ? JSON.parse(payload.toString()) : undefined]),
  );
  await client.subscribeAsync('$skerry/shadow/c/#', { qos: 1 });
  await eventually('the delta is there', () => heard.some(([verb]) => verb === 'delta'));
  expect(heard[0]).toEqual(['delta', { version: 2, state: { rate: 5 } }]);
  await client.publishAsync('$skerry/shadow/c/update', '{"reported":{"rate":5}}', { qos: 1 });
  await eventually('it was accepted', () => heard.some(([verb]) => verb === 'accepted'));
  expect(heard.find(([verb]) => verb === 'accepted')?.[1]).toMatchObject({
    reported: { version: 1, state: { rate: 5 } },
    delta: {},
  });
  await expect(client.subscribeAsync('$skerry/shadow/a/#')).rejects.toThrow();
});

test('a port that is taken is told with its remedy, and the others are open', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  const second = new Hub({ folder: join(folder, 'second'), parts, logger: silent });
  await second.start();
  try {
    await second.tell({
      ...{ node: 'here', addresses: ['127.0.0.1'], guests: [] },
      listen: [`mqtt://127.0.0.1:${port}`, 'mqtt://127.0.0.1:0'],
    });
    expect(second.troubles).toMatchObject([
      { url: `mqtt://127.0.0.1:${port}`, reason: expect.stringContaining('--devices') },
    ]);
    const found = JSON.parse(readFileSync(join(folder, 'second/listening.json'), 'utf8'));
    expect(found.listening).toHaveLength(1);
  } finally {
    await second.stop();
    other.close();
  }
});
