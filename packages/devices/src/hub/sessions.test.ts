// A device that comes in at another node finds its session there: two hubs with real brokers, the agents' relay between them
// played by the test.
import { randomBytes, scryptSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeedDevice } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { createBroker } from '../broker/broker.ts';
import { Hub } from './hub.ts';
import type { HubParts } from './parts.ts';

const NO_SERIES = {
  sink: () => ({ kind: 'series', batch: 1, deliver: async () => undefined, close: async () => undefined }),
  call: async function* () {},
  remove: async () => undefined,
  close: async () => undefined,
};
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const never = new AbortController().signal;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const parts: HubParts = {
  broker: ({ folder, listen, hooks }) => createBroker({ folder, listen, hooks }),
  flow: () => Promise.reject(new Error('no stream here')),
  series: async () => NO_SERIES,
};

async function nodeOf(name: string): Promise<{ hub: Hub; url: string }> {
  const folder = mkdtempSync(join(tmpdir(), `skerry-sessions-${name}-`));
  const hub = new Hub({ folder, parts, logger: silent });
  await hub.start();
  ends.push(async () => {
    await hub.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  await hub.tell({ node: name, listen: ['mqtt://127.0.0.1:0'], addresses: ['127.0.0.1'], guests: [] });
  const url = JSON.parse(readFileSync(join(folder, 'listening.json'), 'utf8')).listening[0];
  return { hub, url };
}

/** What agents and controller do: questions of a hub go to the other one. */
function relay(from: Hub, others: Readonly<Record<string, Hub>>): void {
  const abort = new AbortController();
  const work = (async () => {
    for await (const line of from.report(abort.signal)) {
      if (!('ask' in line)) continue;
      const { id, node, call } = line.ask;
      const values: unknown[] = [];
      const other = others[node];
      if (other) for await (const value of other.call(call, abort.signal)) values.push(value);
      from.answered(id, other && values);
    }
  })();
  ends.push(async () => {
    abort.abort();
    await work;
  });
}

const salt = randomBytes(16);
const hash = scryptSync('secret', salt, 32, { N: 1024, r: 8, p: 1 });
const password = `scrypt$1024$8$1$${salt.toString('base64')}$${hash.toString('base64')}`;
const device = (node?: string): FeedDevice => ({
  ...{ kind: 'device', project: 'default', name: 'truck', uid: 'uid-truck', labels: {}, spec: {} },
  credentials: { version: 1, password },
  ...(node !== undefined && { node }),
});
let revision = 0;
const tell = (hub: Hub, object: FeedDevice) => hub.feed([{ type: 'put', revision: ++revision, object }]);

interface Coming {
  readonly client: MqttClient;
  readonly sessionPresent: boolean;
  readonly heard: string[];
}
function come(url: string, options: IClientOptions = {}): Promise<Coming> {
  const heard: string[] = [];
  const client = mqtt.connect(url, {
    ...{ username: 'truck', password: 'secret', clientId: 'truck-1', clean: false, reconnectPeriod: 0 },
    ...options,
  });
  ends.push(() => client.end(true));
  client.on('message', (_, payload) => heard.push(payload.toString()));
  return new Promise((resolve, reject) => {
    client.once('connect', ({ sessionPresent }) => resolve({ client, sessionPresent, heard }));
    client.once('error', reject);
  });
}
const command = (hub: Hub, text: string) => async () => {
  const payload = Buffer.from(text).toString('base64');
  const call = { verb: 'publish', project: 'default', topic: 'commands/truck/go', payload } as const;
  for await (const _ of hub.call({ ...call, qos: 1, retain: false }, never));
};

test('subscriptions and waiting messages come along to the other node, and are gone at the first', async () => {
  const [north, south] = [await nodeOf('north'), await nodeOf('south')];
  relay(south.hub, { north: north.hub });
  for (const { hub } of [north, south]) tell(hub, device('north'));
  const first = await come(north.url);
  await first.client.subscribeAsync('commands/truck/#', { qos: 1 });
  await first.client.endAsync();
  await command(north.hub, 'left')();
  const second = await come(south.url);
  expect(second.sessionPresent).toBe(true);
  await eventually('what waited is there', () => second.heard.includes('left'));
  await command(south.hub, 'right')();
  await eventually('what came since is there', () => second.heard.includes('right'));
  const call = { verb: 'session-take', project: 'default', device: 'truck', clientId: 'truck-1' } as const;
  await eventually('the first node has forgotten it', async () => {
    const left: unknown[] = [];
    for await (const state of north.hub.call(call, never)) left.push(state);
    return left.length === 0;
  });
});

test('a device that is still connected at the first node is cut off there', async () => {
  const [north, south] = [await nodeOf('north'), await nodeOf('south')];
  relay(south.hub, { north: north.hub });
  for (const { hub } of [north, south]) tell(hub, device('north'));
  const first = await come(north.url);
  await first.client.subscribeAsync('commands/truck/#', { qos: 1 });
  const closed = new Promise<void>((resolve) => first.client.once('close', () => resolve()));
  expect((await come(south.url)).sessionPresent).toBe(true);
  await closed;
});

test('without agent and controller it goes on with a new session, at once', async () => {
  const south = await nodeOf('south');
  tell(south.hub, device('north'));
  const begun = performance.now();
  const { sessionPresent, client } = await come(south.url);
  expect(sessionPresent).toBe(false);
  expect(performance.now() - begun).toBeLessThan(3000);
  await client.publishAsync('devices/truck/t', 'x', { qos: 1 });
});

test('a node that can not be asked keeps nobody waiting', async () => {
  const south = await nodeOf('south');
  relay(south.hub, {});
  tell(south.hub, device('north'));
  expect((await come(south.url)).sessionPresent).toBe(false);
});
