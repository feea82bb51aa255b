// Another broker in the place of the hub's own: mosquitto.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeedObject } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import mqtt from 'mqtt';
import { afterEach, describe, expect, test } from 'vitest';
import type { Message } from '../message.ts';
import { Busy } from '../ports.ts';
import { Hub } from './hub.ts';
import { readOutsideTopics } from './outside-topics.ts';
import type { HubParts } from './parts.ts';

test.each([
  ['%p/%d/#', '+/+/#', 'plant/press/a/b', { project: 'plant', device: 'press', topic: 'press/a/b' }],
  ['%p/%d/#', '+/+/#', 'plant', undefined],
  ['site/%d/data', 'site/+/data', 'site/x/data', { project: 'default', device: 'x', topic: 'site/x/data' }],
  ['site/%d/data', 'site/+/data', 'site/x/data/y', undefined],
  [
    'a/%p/devices/%d/#',
    'a/+/devices/+/#',
    'a/p/devices/d/t',
    { project: 'p', device: 'd', topic: 'a/devices/d/t' },
  ],
])('%s subscribes to %s, and finds whose %s is', (pattern, filter, topic, expected) => {
  const topics = readOutsideTopics(pattern);
  expect(topics.filter).toBe(filter);
  expect(topics.of(topic)).toEqual(expected);
  if (expected) expect(topics.outside(expected.project, expected.topic)).toBe(topic);
});
test.each(['', '#', '%p/#', 'a%d/#', '%d/%d', '#/%d', '+/%p/%d'])('%j is no pattern', (pattern) => {
  expect(() => readOutsideTopics(pattern)).toThrow('pattern of topics');
});

const NO_SERIES = {
  sink: () => ({ kind: 'series', batch: 1, deliver: async () => undefined, close: async () => undefined }),
  call: async function* () {},
  remove: async () => undefined,
  close: async () => undefined,
};
const MOSQUITTO = '/usr/sbin/mosquitto';
describe.skipIf(!existsSync(MOSQUITTO))('with mosquitto (skipped where it is not installed)', () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const secrets = { username: 'hub', password: 'of-the-hub' };

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    return port;
  }

  async function mosquitto(folder: string, port: number): Promise<ChildProcess> {
    const config = join(folder, 'mosquitto.conf');
    writeFileSync(
      config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location ${folder}/\nuser root\n`,
    );
    const child = spawn(MOSQUITTO, ['-c', config], { stdio: 'ignore' });
    ends.push(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill();
        await once(child, 'exit');
      }
    });
    return child;
  }

  async function world() {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-outside-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    const port = await freePort();
    const url = `mqtt://127.0.0.1:${port}`;
    const credentialsFile = join(folder, 'credentials.json');
    writeFileSync(credentialsFile, JSON.stringify(secrets), { mode: 0o600 });
    const taken: Message[] = [];
    const state = { busy: 0 };
    const parts: HubParts = {
      broker: () => Promise.reject(new Error('the hub has another broker')),
      flow: async () => ({
        async take(message) {
          if (state.busy-- > 0) throw new Busy('full');
          taken.push(message);
        },
        configure: async () => undefined,
        counts: () => ({ received: 0, sent: 0, waiting: 0, dropped: 0, refused: 0 }),
        async *tail() {},
        close: async () => undefined,
        remove: async () => undefined,
      }),
      series: async () => NO_SERIES,
    };
    const hubOf = async () => {
      const hub = new Hub({ folder: join(folder, 'hub'), parts, logger: silent });
      await hub.start();
      await hub.tell({
        ...{ node: 'here', listen: [], addresses: [], guests: [] },
        outside: { url, credentialsFile },
      });
      const end = () => hub.stop();
      ends.push(end);
      return { hub, stop: () => ends.splice(ends.indexOf(end), 1)[0]!() };
    };
    const objects: FeedObject[] = [
      {
        ...{ kind: 'device', project: 'plant', name: 'press', uid: 'uid-press', labels: {}, spec: {} },
        credentials: { version: 1 },
      },
      {
        ...{ kind: 'stream', project: 'plant', name: 'all', uid: 'uid-all', generation: 1 },
        spec: { from: {}, to: [{ file: { name: 'out' } }] },
      },
    ];
    const feed = (hub: Hub) =>
      hub.feed(objects.map((object, at) => ({ type: 'put', revision: at + 1, object })));
    const devices = async () => {
      const client = await mqtt.connectAsync(url, { clientId: `device-${port}`, reconnectPeriod: 200 });
      ends.push(() => client.endAsync(true));
      return client;
    };
    return { folder, port, taken, state, hubOf, feed, devices, begin: () => mosquitto(folder, port) };
  }
  const texts = (taken: readonly Message[]) => taken.map(({ payload }) => Buffer.from(payload).toString());

  test('what its devices say reaches streams; who nobody knows is left out; a command goes to it', async () => {
    const { begin, hubOf, feed, devices, taken, state } = await world();
    await begin();
    const { hub } = await hubOf();
    feed(hub);
    const client = await devices();
    const heard: string[] = [];
    client.on('message', (topic) => heard.push(topic));
    await client.subscribeAsync('plant/commands/#', { qos: 1 });
    await eventually('the hub has subscribed', async () => {
      await client.publishAsync('plant/press/first', 'x', { qos: 1 });
      return taken.length > 0;
    });
    expect(taken[0]).toMatchObject({ project: 'plant', device: 'press', topic: 'press/first', qos: 1 });
    taken.length = 0;
    state.busy = 3; // it is asked again, and nothing is lost
    await client.publishAsync('plant/nobody/t', 'no', { qos: 1 });
    await client.publishAsync('plant/press/t', 'yes', { qos: 2 });
    await eventually('it is there', () => texts(taken).includes('yes'));
    expect(texts(taken)).not.toContain('no');
    const call = { verb: 'publish', project: 'plant', topic: 'commands/press/go', qos: 1 } as const;
    for await (const _ of hub.call({ ...call, payload: '', retain: false }, new AbortController().signal));
    await eventually('the command is there', () => heard.includes('plant/commands/press/go'));
  });

  test('what is said while the hub is away, and over a restart of that broker, is not lost', async () => {
    const { begin, hubOf, feed, devices, taken } = await world();
    const first = await begin();
    const one = await hubOf();
    feed(one.hub);
    const client = await devices();
    await eventually('the hub has subscribed', async () => {
      await client.publishAsync('plant/press/first', 'x', { qos: 1 });
      return taken.length > 0;
    });
    await one.stop();
    for (let i = 0; i < 50; i++) await client.publishAsync('plant/press/t', `away-${i}`, { qos: 1 });
    first.kill();
    await once(first, 'exit');
    await begin();
    await hubOf();
    await eventually('all of it is there', () => {
      const there = new Set(texts(taken));
      return Array.from({ length: 50 }, (_, i) => `away-${i}`).every((text) => there.has(text));
    });
  });
});
