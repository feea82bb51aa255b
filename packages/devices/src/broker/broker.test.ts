// The broker with mqtt.js in 3.1.1 and 5, and with bytes that no client would send.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Message } from '../message.ts';
import { type Broker, type BrokerHooks, Busy } from '../ports.ts';
import { createBroker } from './broker.ts';
import type { BrokerLimits } from './limits.ts';

let folder: string;
let broker: Broker;
let port: number;
let taken: Message[];
/** Answers of who takes messages; undefined: taken at once. */
let ingest: ((message: Message) => Promise<void> | undefined) | undefined;
const clients: MqttClient[] = [];
const sockets: Socket[] = [];

const hooks: BrokerHooks = {
  async authenticate({ username = '', password }) {
    const [project, device] = username.includes('/') ? username.split('/') : ['default', username];
    if (Buffer.from(password ?? []).toString() !== 'secret')
      return { refused: 'bad-credentials', reason: 'no' };
    return { identity: { project: project!, device: device! } };
  },
  mayPublish: (_, topic) => !topic.startsWith('private/'),
  maySubscribe: (_, filter) => !filter.startsWith('private/'),
  ingest: (message) => {
    const { payload } = message;
    const whole = { ...message, payload: Buffer.from(payload) };
    const answer = ingest?.(message);
    if (!answer) {
      taken.push(whole);
      return undefined;
    }
    return answer.then(() => void taken.push(whole));
  },
  connected: () => undefined,
  disconnected: () => undefined,
};

async function startBroker(
  limits: Partial<BrokerLimits> = {},
  protocol: 'mqtt' | 'ws' = 'mqtt',
): Promise<void> {
  const listen = [{ protocol, host: '127.0.0.1', port: 0 }];
  broker = await createBroker({ folder, hooks, listen, limits });
  port = (await broker.start())[0]!.port;
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-broker-'));
  taken = [];
  ingest = undefined;
  await startBroker();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  for (const socket of sockets.splice(0)) socket.destroy();
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Heard {
  readonly topic: string;
  readonly text: string;
  readonly retain: boolean;
  readonly qos: number;
}
async function device(name: string, options: IClientOptions = {}) {
  const heard: Heard[] = [];
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ username: name, password: 'secret', clientId: name, reconnectPeriod: 0, ...options },
  });
  clients.push(client);
  client.on('message', (topic, payload, { retain, qos }) =>
    heard.push({ topic, text: payload.toString(), retain, qos }),
  );
  return { client, heard, texts: () => heard.map(({ text }) => text) };
}
const VERSIONS = [4, 5] as const;

test.each(VERSIONS)(
  'MQTT %i: messages of each QoS reach subscribers, and who takes messages',
  async (protocolVersion) => {
    const ears = await device('ears', { protocolVersion });
    await ears.client.subscribeAsync({ 'a/+/c': { qos: 0 }, 'x/#': { qos: 1 }, two: { qos: 2 } });
    const mouth = await device('mouth', { protocolVersion });
    await mouth.client.publishAsync('a/b/c', 'zero');
    await mouth.client.publishAsync('x/y/z', 'one', { qos: 1 });
    await mouth.client.publishAsync('two', 'two', { qos: 2 });
    await mouth.client.publishAsync('nobody', 'unheard', { qos: 1 });
    await eventually('three messages', () => ears.heard.length === 3);
    expect(ears.heard.map(({ topic, text, qos }) => [topic, text, qos])).toEqual([
      ['a/b/c', 'zero', 0],
      ['x/y/z', 'one', 1],
      ['two', 'two', 2],
    ]);
    expect(taken.map(({ device: from, topic, project }) => [project, from, topic])).toEqual(
      ['a/b/c', 'x/y/z', 'two', 'nobody'].map((topic) => ['default', 'mouth', topic]),
    );
    expect(new Set(taken.map(({ id }) => id)).size).toBe(4);
  },
);

test('projects never hear each other', async () => {
  const [mine, other] = [await device('one/ears'), await device('two/ears')];
  await Promise.all([mine, other].map(({ client }) => client.subscribeAsync('#')));
  const mouth = await device('one/mouth');
  await mouth.client.publishAsync('t', 'hello', { qos: 1, retain: true });
  await eventually('the message', () => mine.heard.length === 1);
  const late = await device('two/late');
  await late.client.subscribeAsync('#');
  const fence = await device('two/fence');
  await fence.client.publishAsync('fence', '.', { qos: 1 });
  await eventually('the fence', () => late.heard.length === 1);
  expect(other.texts()).toEqual(['.']);
  expect(late.texts()).toEqual(['.']);
});

test.each(VERSIONS)('MQTT %i: a wrong password is told', async (protocolVersion) => {
  await expect(device('ears', { protocolVersion, password: 'wrong' })).rejects.toThrow(
    /[Uu]ser|password|authori[sz]ed/,
  );
});

test('retained messages come with a subscription, survive a restart, and go by an empty one', async () => {
  const mouth = await device('mouth');
  await mouth.client.publishAsync('state/door', 'open', { qos: 1, retain: true });
  await mouth.client.publishAsync('state/door', 'shut', { qos: 1, retain: true });
  await broker.stop();
  await startBroker();
  const first = await device('first');
  await first.client.subscribeAsync('state/+');
  await eventually('the retained one', () => first.heard.length === 1);
  expect(first.heard[0]).toMatchObject({ text: 'shut', retain: true });
  const again = await device('mouth');
  await again.client.publishAsync('state/door', '', { qos: 1, retain: true });
  const second = await device('second');
  await second.client.subscribeAsync('state/+');
  await again.client.publishAsync('state/x', 'fence', { qos: 1 });
  await eventually('the fence', () => second.heard.length === 1);
  expect(second.texts()).toEqual(['fence']);
});

const STAYS: Record<4 | 5, IClientOptions> = {
  4: { protocolVersion: 4, clean: false },
  5: { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } },
};
test.each(VERSIONS)(
  'MQTT %i: a session keeps what came while its device was away, over a restart of the broker',
  async (version) => {
    const first = await device('ears', STAYS[version]);
    await first.client.subscribeAsync('t', { qos: 1 });
    await first.client.endAsync();
    const mouth = await device('mouth');
    for (let at = 0; at < 20; at++) await mouth.client.publishAsync('t', `m${at}`, { qos: 1 });
    await broker.stop();
    await startBroker();
    const heard: string[] = [];
    const back = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      ...{ username: 'ears', password: 'secret', clientId: 'ears', reconnectPeriod: 0, ...STAYS[version] },
    });
    clients.push(back);
    const present = new Promise((resolve) =>
      back.once('connect', ({ sessionPresent }) => resolve(sessionPresent)),
    );
    back.on('message', (_, payload) => heard.push(payload.toString()));
    expect(await present).toBe(true);
    await eventually('what came meanwhile', () => heard.length === 20);
    expect(heard).toEqual(Array.from({ length: 20 }, (_, at) => `m${at}`));
  },
);

test('another device with the same client id has another session', async () => {
  const first = await device('one', { clientId: 'same' });
  const second = await device('two', { clientId: 'same' });
  await first.client.publishAsync('t', 'still here', { qos: 1 });
  expect(second.client.connected).toBe(true);
  const gone = new Promise((resolve) => first.client.once('close', () => resolve(true)));
  await device('one', { clientId: 'same' });
  expect(await gone).toBe(true);
});

test('a will is published when its device vanishes, and not when it says goodbye', async () => {
  const ears = await device('ears');
  await ears.client.subscribeAsync('wills/#');
  const will = (name: string) => ({
    will: { topic: `wills/${name}`, payload: Buffer.from('gone'), qos: 1 as const, retain: false },
  });
  const polite = await device('polite', will('polite'));
  await polite.client.endAsync();
  const lost = await device('lost', will('lost'));
  lost.client.stream.destroy();
  await eventually('the will', () => ears.heard.length === 1);
  expect(ears.heard[0]!.topic).toBe('wills/lost');
});

test('a shared subscription gives each message to one of the group', async () => {
  const members = [await device('m1', { protocolVersion: 5 }), await device('m2', { protocolVersion: 5 })];
  for (const { client } of members) await client.subscribeAsync('$share/g/work/#', { qos: 1 });
  const mouth = await device('mouth');
  for (let at = 0; at < 10; at++) await mouth.client.publishAsync(`work/${at}`, `${at}`, { qos: 1 });
  await eventually('ten messages', () => members[0]!.heard.length + members[1]!.heard.length === 10);
  expect(members.map(({ heard }) => heard.length)).toEqual([5, 5]);
});

test('what is not permitted is refused: MQTT 5 by its code, 3.1.1 by the end of the connection', async () => {
  const five = await device('five', { protocolVersion: 5 });
  await expect(five.client.publishAsync('private/x', 'no', { qos: 1 })).rejects.toMatchObject({ code: 0x87 });
  expect(five.client.connected).toBe(true);
  const four = await device('four', { protocolVersion: 4 });
  const closed = new Promise((resolve) => four.client.once('close', () => resolve(true)));
  four.client.publish('private/x', 'no', { qos: 1 });
  expect(await closed).toBe(true);
  expect(taken).toEqual([]);
  expect(broker.counts().forbidden).toBe(2);
});

test('an acknowledgement leaves when the message is durable, in the order of the messages', async () => {
  const open: (() => void)[] = [];
  ingest = () => new Promise((resolve) => open.push(resolve));
  const mouth = await device('mouth');
  const done: number[] = [];
  const all = [0, 1, 2].map((at) =>
    mouth.client.publishAsync('t', `${at}`, { qos: 1 }).then(() => done.push(at)),
  );
  await eventually('three messages', () => open.length === 3);
  open[2]!();
  open[1]!();
  expect(done).toEqual([]);
  open[0]!();
  await Promise.all(all);
  expect(done).toEqual([0, 1, 2]);
});

test('when nobody can take it: MQTT 5 is told so, 3.1.1 is held until it works; nothing is lost', async () => {
  let busy = 3;
  ingest = () => (busy-- > 0 ? Promise.reject(new Busy('full')) : Promise.resolve());
  const four = await device('four', { protocolVersion: 4 });
  await four.client.publishAsync('t', 'held', { qos: 1 });
  busy = 1;
  const five = await device('five', { protocolVersion: 5 });
  await expect(five.client.publishAsync('t', 'told', { qos: 1 })).rejects.toMatchObject({ code: 0x97 });
  await five.client.publishAsync('t', 'again', { qos: 1 });
  expect(taken.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['held', 'again']);
});

test('topic aliases, user properties and expiry of MQTT 5', async () => {
  const ears = await device('ears', { ...STAYS[5] });
  await ears.client.subscribeAsync('t', { qos: 1 });
  const user: unknown[] = [];
  ears.client.on('message', (_, __, packet) => user.push(packet.properties?.userProperties));
  const mouth = await device('mouth', { protocolVersion: 5 });
  const properties = { topicAlias: 1, userProperties: { site: 'harbour' } };
  await mouth.client.publishAsync('t', 'first', { qos: 1, properties });
  await mouth.client.publishAsync('', 'second', { qos: 1, properties });
  await eventually('both', () => ears.heard.length === 2);
  expect(ears.texts()).toEqual(['first', 'second']);
  expect(user[0]).toEqual({ site: 'harbour' });
  await ears.client.endAsync();
  await mouth.client.publishAsync('t', 'stale', { qos: 1, properties: { messageExpiryInterval: 1 } });
  await mouth.client.publishAsync('t', 'fresh', { qos: 1, properties: { messageExpiryInterval: 1000 } });
  await new Promise((resolve) => setTimeout(resolve, 1100)); // the expiry itself is a second
  const heard: string[] = [];
  const back = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    ...{ username: 'ears', password: 'secret', clientId: 'ears', reconnectPeriod: 0, ...STAYS[5] },
  });
  clients.push(back);
  back.on('message', (_, payload) => heard.push(payload.toString()));
  await eventually('the fresh one', () => heard.length > 0);
  expect(heard).toEqual(['fresh']);
});

test('a session goes to another broker with its subscriptions and what waits', async () => {
  const ears = await device('ears', STAYS[5]);
  await ears.client.subscribeAsync('t', { qos: 1 });
  await ears.client.endAsync();
  const mouth = await device('mouth');
  await mouth.client.publishAsync('t', 'waits', { qos: 1 });
  const taking = await broker.exportSession({ project: 'default', device: 'ears' }, 'ears');
  const there = mkdtempSync(join(tmpdir(), 'skerry-broker-'));
  const listen = [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }] as const;
  const other = await createBroker({
    ...{ folder: there, listen },
    hooks: { ...hooks, fetchSession: () => Promise.resolve(taking!.state) },
  });
  try {
    const otherPort = (await other.start())[0]!.port;
    const heard: string[] = [];
    const back = mqtt.connect(`mqtt://127.0.0.1:${otherPort}`, {
      ...{ username: 'ears', password: 'secret', clientId: 'ears', reconnectPeriod: 0, ...STAYS[5] },
    });
    clients.push(back);
    back.on('message', (_, payload) => heard.push(payload.toString()));
    await eventually('what waited', () => heard.length === 1);
    await taking!.done();
    expect(await broker.exportSession({ project: 'default', device: 'ears' }, 'ears')).toBeUndefined();
    expect(heard).toEqual(['waits']);
  } finally {
    await other.stop();
    rmSync(there, { recursive: true, force: true });
  }
});

// Hostile -----------------------------------------------------------------------------------------------------------------

const raw = (bytes: Buffer): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectSocket(port, '127.0.0.1', () => socket.write(bytes));
    sockets.push(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => resolve(true))
      .resume();
  });
const CONNECT = Buffer.from([
  ...[0x10, 28, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0xc2, 0, 60, 0, 2, 0x72, 0x31],
  ...[0, 4, 0x65, 0x76, 0x69, 0x6c, 0, 6, ...Buffer.from('secret')],
]);

/** The same with MQTT 5 and a session that stays for a minute. */
const CONNECT_5 = Buffer.concat([
  Buffer.from([0x10, 34, ...CONNECT.subarray(2, 8), 5, ...CONNECT.subarray(9, 12)]),
  Buffer.from([5, 0x11, 0, 0, 0, 60, ...CONNECT.subarray(12)]),
]);
const PACKETS = [
  [0x30, 5, 0, 1, 0x61, 0x78, 0x79],
  [0x32, 7, 0, 1, 0x61, 0, 7, 0x78, 0x79],
  [0x35, 7, 0, 1, 0x61, 0, 8, 0x78, 0x79],
  [0x32, 12, 0, 1, 0x61, 0, 9, 5, 2, 0, 0, 0, 60, 0x78],
  [0x32, 10, 0, 1, 0x61, 0, 9, 3, 0x23, 0, 1, 0x78],
  [0x62, 2, 0, 8],
  [0x40, 2, 0, 1],
  [0x50, 2, 0, 1],
  [0x82, 8, 0, 3, 0, 3, 0x61, 0x2f, 0x23, 1],
  [0x82, 9, 0, 3, 0, 0, 3, 0x61, 0x2f, 0x23, 2],
  [0xa2, 7, 0, 4, 0, 3, 0x61, 0x2f, 0x23],
  [0xc0, 0],
  [0xe0, 0],
  [0xe0, 2, 4, 0],
].map((bytes) => Buffer.from(bytes));
/** Whole numbers below a bound, the same for the same seed (a linear congruential generator). */
function drawFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test('a claim of 256 MB, a packet of no kind, a second CONNECT and a topic of 64 KB end their connection, and no other', async () => {
  const calm = await device('calm');
  const topic = Buffer.alloc(65_535, 0x61);
  const endings = [
    Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]),
    Buffer.from([0xf0, 0xff, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x00, 0x00]),
    Buffer.concat([CONNECT, CONNECT]),
    Buffer.concat([CONNECT, Buffer.from([0x30, 0x81, 0x80, 0x04, 0xff, 0xff]), topic]),
    Buffer.concat([CONNECT, Buffer.from([0x36, 4, 0, 1, 0x61, 0])]),
  ].map(raw);
  expect(await Promise.all(endings)).toEqual(endings.map(() => true));
  await calm.client.publishAsync('t', 'unharmed', { qos: 1 });
  expect(taken.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['unharmed']);
  expect(broker.counts().malformed).toBe(6);
});

test.each(['//', '/other', '/%', 'http://[', '*'])('a WebSocket for %s is refused', async (path) => {
  await broker.stop();
  await startBroker({}, 'ws');
  const upgrade = ['Host: a', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
  const key = `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`;
  expect(await raw(Buffer.from([`GET ${path} HTTP/1.1`, ...upgrade, key, '', ''].join('\r\n')))).toBe(true);
  expect(broker.counts().connections).toBe(0);
});

test('any damage to what clients send ends at most the connection that sent it', async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  await broker.stop();
  await startBroker({ connectMs: 20_000 });
  const calm = await device('calm');
  const draw = drawFrom(seed);
  for (let round = 0; round < Number(process.env.FUZZ_ROUNDS ?? 25); round++) {
    const hostile = Array.from({ length: 40 }, () => {
      const packets = Array.from({ length: 1 + draw(4) }, () => PACKETS[draw(PACKETS.length)]!);
      const connect = draw(2) === 0 ? CONNECT : CONNECT_5;
      const whole = Buffer.concat([...(draw(8) > 0 ? [connect] : []), ...packets]);
      for (let damages = draw(6); damages > 0; damages--)
        whole[draw(4) > 0 ? connect.length + draw(whole.length) : draw(whole.length)] = draw(256);
      const socket = connectSocket(port, '127.0.0.1');
      sockets.push(socket);
      return new Promise<void>((resolve) => {
        socket.on('error', () => undefined).on('close', () => resolve());
        socket.resume().end(draw(4) > 0 ? whole : whole.subarray(0, draw(whole.length)));
      });
    });
    await Promise.all(hostile);
    await calm.client.publishAsync('calm', `${round}`, { qos: 1 });
  }
  const told = taken.filter(({ topic, device: from }) => topic === 'calm' && from === 'calm');
  expect(told.length, `FUZZ_SEED=${seed}`).toBe(Number(process.env.FUZZ_ROUNDS ?? 25));
  expect(broker.counts().malformed).toBeGreaterThan(0);
  expect(calm.client.connected).toBe(true);
});

test('who says nothing is not waited for', async () => {
  await broker.stop();
  await startBroker({ connectMs: 50 });
  expect(await raw(Buffer.alloc(0))).toBe(true);
});

test('too many retained topics and too many subscriptions are refused, counted, and harm nobody', async () => {
  await broker.stop();
  await startBroker({ retainedMessages: 5, subscriptions: 3 });
  const mouth = await device('mouth', { protocolVersion: 5 });
  for (let at = 0; at < 8; at++) await mouth.client.publishAsync(`r/${at}`, 'x', { qos: 1, retain: true });
  expect(broker.counts().retainedRefused).toBe(3);
  await mouth.client.subscribeAsync(['a', 'b', 'c']);
  await expect(mouth.client.subscribeAsync('d')).rejects.toThrow();
  expect(mouth.client.connected).toBe(true);
});

test('100,000 retained topics and a storm of wildcards: what is beyond the limits is counted, and others are served', async () => {
  await broker.stop();
  await startBroker({ connectMs: 30_000, retainedMessages: 2000 });
  const publishes = Array.from({ length: 100_000 }, (_, at) => {
    const topic = Buffer.from(`storm/${at % 100}/${at}`);
    return Buffer.concat([Buffer.from([0x31, 3 + topic.length, 0, topic.length]), topic, Buffer.from('x')]);
  });
  expect(await raw(Buffer.concat([CONNECT, ...publishes, Buffer.from([0xe0, 0])]))).toBe(true);
  expect(broker.counts()).toMatchObject({ received: 100_000, retainedRefused: 98_000, malformed: 0 });
  const [calm, ...storm] = await Promise.all(['calm', 'a', 'b', 'c', 'd'].map((name) => device(name)));
  const filters = ['#', '+/+/+', 'storm/#', ...Array.from({ length: 97 }, (_, at) => `+/${at}/+`)];
  const asked = storm.map(({ client }) => client.subscribeAsync(filters));
  await calm!.client.publishAsync('calm', 'unharmed', { qos: 1 });
  await Promise.all(asked);
  await eventually('all that is retained', () => storm.every(({ heard }) => heard.length >= 2000));
  expect(storm.every(({ client }) => client.connected)).toBe(true);
});

test('a device that never reads holds no more than its limits, and others are served', async () => {
  await broker.stop();
  await startBroker({ unsentBytes: 64 * 1024, queuedMessages: 50 });
  const deaf = connectSocket(port, '127.0.0.1');
  sockets.push(deaf);
  deaf.on('error', () => undefined);
  deaf.write(Buffer.concat([CONNECT, Buffer.from([0x82, 6, 0, 1, 0, 1, 0x23, 1])]));
  deaf.pause();
  const mouth = await device('mouth');
  const ears = await device('ears');
  await ears.client.subscribeAsync('t', { qos: 1 });
  await eventually('the subscription', () => broker.counts().connections! >= 3);
  const payload = Buffer.alloc(50_000);
  for (let at = 0; at < 80; at++) {
    await mouth.client.publishAsync('t', payload, { qos: 0 });
    await mouth.client.publishAsync('t', payload, { qos: 1 });
    await eventually('it comes to who reads', () => ears.heard.filter(({ qos }) => qos === 1).length > at, {
      everyMs: 2,
    });
  }
  expect(broker.counts().dropped).toBeGreaterThan(40);
});
