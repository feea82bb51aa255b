// The device program in one process, asked through its door; broker and flows are stand-ins that keep what they are told.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeedDevice, FeedItem, FeedObject, FeedStream } from '@skerry/contract';
import { eventually } from '@skerry/testkit';
import { afterEach, expect, test } from 'vitest';
import type { Message } from '../message.ts';
import { type Broker, type BrokerHooks, Busy, type Flow } from '../ports.ts';
import { HubClient } from './client.ts';
import { openControl } from './control.ts';
import { Hub } from './hub.ts';
import type { Local } from './local.ts';
import type { HubParts } from './parts.ts';
import type { ReportLine } from './reports.ts';

const folders: string[] = [];
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const never = new AbortController().signal;

class StandIn {
  hooks!: BrokerHooks;
  readonly published: { project: string; topic: string; text: string; retain: boolean }[] = [];
  readonly disconnected: string[] = [];
  readonly flows = new Map<
    string,
    { taken: Message[]; state: 'open' | 'closed' | 'gone'; specs: unknown[] }
  >();
  isFull = (_: string) => false;
  session: { state: never; done(): Promise<void> } | undefined;
  readonly parts: HubParts = {
    broker: async ({ hooks, listen }) => {
      this.hooks = hooks;
      return {
        start: async () => listen.map((one) => ({ ...one, port: one.port || 4242 })),
        publish: async (project, { topic, payload, retain }) =>
          void this.published.push({ project, topic, text: Buffer.from(payload).toString(), retain }),
        disconnect: ({ device }, reason) => void this.disconnected.push(`${device} ${reason}`),
        exportSession: async () => this.session,
        counts: () => ({}),
        stop: async () => undefined,
      } satisfies Broker;
    },
    flow: async ({ stream }) => {
      const before = this.flows.get(stream.name);
      const own = { taken: before?.taken ?? [], state: 'open' as const, specs: [stream.spec as unknown] };
      const flow: typeof this.flows extends Map<string, infer F> ? F : never = own;
      this.flows.set(stream.name, flow);
      return {
        take: async (message) => {
          if (this.isFull(stream.name)) throw new Busy('full');
          flow.taken.push(message);
        },
        configure: async (spec) => void flow.specs.push(spec),
        counts: () => ({ received: flow.taken.length, sent: 0, waiting: 0, dropped: 0, refused: 0 }),
        async *tail() {
          yield { atMs: 1, place: 'from', device: 'a', topic: 't', id: 'i', value: '1' };
        },
        close: async () => {
          flow.state = 'closed';
        },
        remove: async () => {
          flow.state = 'gone';
        },
      } satisfies Flow;
    },
    series: async () => ({
      async *call({ verb }) {
        yield { verb };
      },
      sink: () => ({
        kind: 'series',
        batch: 1,
        deliver: async () => undefined,
        close: async () => undefined,
      }),
      remove: async () => undefined,
      close: async () => undefined,
    }),
  };
}

const local: Local = { node: 'here', listen: ['mqtt://127.0.0.1:0'], addresses: ['192.0.2.7'], guests: [] };

async function begin(folder = mkdtempSync(join(tmpdir(), 'skerry-hub-')), stand = new StandIn()) {
  folders.push(folder);
  const hub = new Hub({ folder: join(folder, 'devices'), parts: stand.parts, logger: silent });
  await hub.start();
  const socketPath = join(folder, 'hub.sock');
  const control = await openControl(hub, socketPath, silent);
  const client = new HubClient(socketPath);
  const end = async () => {
    await control.close();
    await hub.stop();
  };
  ends.push(end);
  return { folder, stand, hub, client, socketPath, end: () => ends.splice(ends.indexOf(end), 1)[0]!() };
}

let revision = 0;
const put = (...objects: FeedObject[]): FeedItem[] => [
  ...objects.map((object): FeedItem => ({ type: 'put', revision: ++revision, object })),
  { type: 'synced', revision },
];
const device = (name: string, more: Partial<FeedDevice> = {}): FeedDevice => ({
  ...{ kind: 'device', project: 'default', name, uid: `uid-${name}`, labels: {}, spec: {} },
  credentials: { version: 1 },
  ...more,
});
const stream = (name: string, from: FeedStream['spec']['from'], uid = `uid-${name}`): FeedStream => ({
  ...{ kind: 'stream', project: 'default', name, uid, generation: 1 },
  spec: { from, to: [{ file: { name: 'out' } }] },
});
let number = 0;
const message = (topic: string, payload: unknown = 1, of = 'a'): Message => ({
  ...{ id: `m${++number}`, project: 'default', device: of, topic, receivedAtMs: Date.now(), qos: 1 },
  ...{ retain: false, payload: Buffer.from(JSON.stringify(payload)) },
});

/** Reads reports until `seen` says so. */
async function reported(client: HubClient, seen: (line: ReportLine) => boolean): Promise<ReportLine> {
  const abort = new AbortController();
  const limit = AbortSignal.any([abort.signal, AbortSignal.timeout(20_000)]);
  for await (const line of client.report(limit)) {
    if (!seen(line)) continue;
    abort.abort();
    return line;
  }
  throw new Error('no such report came');
}

test('a message goes to the streams whose topics and labels want it, and is acknowledged when all have it', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  await client.feed(
    put(
      device('a', { labels: { hall: 'north' } }),
      device('b'),
      stream('all', {}),
      stream('own', { topics: ['devices/%d/t'] }),
      stream('north', { topics: ['devices/+/t'], devices: { labels: { hall: 'north' } } }),
      stream('inner', { streams: true }),
    ),
    never,
  );
  const ids = (name: string) => stand.flows.get(name)?.taken.map(({ topic, device }) => `${device}:${topic}`);
  await eventually('the flows are there', () => stand.flows.size === 4);
  await stand.hooks.ingest(message('devices/a/t'));
  await stand.hooks.ingest(message('devices/b/t', 1, 'b'));
  await stand.hooks.ingest(message('devices/a/t', 1, 'b'));
  await stand.hooks.ingest(message('devices/a/u'));
  expect(ids('all')).toHaveLength(4);
  expect(ids('own')).toEqual(['a:devices/a/t', 'b:devices/b/t']);
  expect(ids('north')).toEqual(['a:devices/a/t']);
  expect(ids('inner')).toEqual([]);
});

test('what no stream wants is acknowledged at once; where all are full it is busy, where one is it waits for it', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  expect(stand.hooks.ingest(message('devices/a/t'))).toBeUndefined();
  await client.feed(put(stream('one', {}), stream('two', {})), never);
  await eventually('the flows are there', () => stand.flows.size === 2);
  stand.isFull = () => true;
  await expect(stand.hooks.ingest(message('devices/a/t'))).rejects.toThrow(Busy);
  let asked = 0;
  stand.isFull = (name) => name === 'two' && ++asked < 4;
  await stand.hooks.ingest(message('devices/a/t'));
  expect([...stand.flows.values()].map(({ taken }) => taken.length)).toEqual([1, 1]);
});

test('a stream that is changed is configured, one that is made anew begins anew, one that goes leaves nothing', async () => {
  const { client, stand } = await begin();
  await client.feed(put(stream('one', {})), never);
  await client.feed(put(stream('one', { topics: ['a/#'] })), never);
  await eventually('it was configured', () => stand.flows.get('one')?.specs.length === 2);
  const former = stand.flows.get('one')!;
  await client.feed(put(stream('one', {}, 'uid-another')), never);
  await eventually('it began anew', () => stand.flows.get('one') !== former && former.state === 'gone');
  const gone: FeedItem = {
    ...{ type: 'delete', revision: ++revision, kind: 'stream', project: 'default', name: 'one' },
  };
  await client.feed([gone], never);
  await eventually('it is gone', () => stand.flows.get('one')?.state === 'gone');
});

test('after a restart it goes on by what it knew, without its agent', async () => {
  const first = await begin();
  await first.client.tell(local, never);
  const { revision: known } = await first.client.feed(put(device('a'), stream('one', {})), never);
  await first.end();
  const { stand, client } = await begin(first.folder);
  expect(await client.standing(never)).toEqual({ revision: known, isWanted: true });
  await stand.hooks.ingest(message('devices/a/t'));
  expect(stand.flows.get('one')?.taken).toHaveLength(1);
});

test('only its owner may open the door', async () => {
  const { socketPath } = await begin();
  expect(statSync(socketPath).mode & 0o777).toBe(0o600);
});

test('a device that is disabled, removed or proves itself otherwise now is disconnected; one with other labels is not', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  await client.feed(put(device('a'), device('b'), device('c')), never);
  await client.feed(
    put(
      device('a', { spec: { disabled: true } }),
      device('b', { credentials: { version: 2 } }),
      device('c', { labels: { x: '1' }, node: 'here', spec: { attributes: { y: 1 } } }),
    ),
    never,
  );
  expect(stand.disconnected).toEqual(['a rotated', 'b rotated']);
  await client.feed(
    [{ type: 'delete', revision: ++revision, kind: 'device', project: 'default', name: 'c' }],
    never,
  );
  expect(stand.disconnected).toContain('c removed');
});

test('presence, counts and URLs are told: all at first, then what changed', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  await client.feed(put(device('a'), stream('one', {})), never);
  await eventually('the flow is there', () => stand.flows.size === 1);
  const told = await reported(client, (line) => 'report' in line);
  expect(told).toMatchObject({
    report: { fresh: true, devices: [], listening: ['mqtt://127.0.0.1:4242'], streams: [{ name: 'one' }] },
  });
  const waiting = reported(client, (line) => 'report' in line && line.report.devices[0]?.connected === true);
  stand.hooks.connected({ project: 'default', device: 'a' }, 'c1', '192.0.2.1');
  await stand.hooks.ingest(message('devices/a/t'));
  expect(await waiting).toMatchObject({ report: { devices: [{ name: 'a', connected: true }] } });
  const away = reported(client, (line) => 'report' in line && line.report.devices[0]?.connected === false);
  stand.hooks.disconnected({ project: 'default', device: 'a' }, 'c1', Date.now() - 5000);
  const line = await away;
  expect('report' in line && line.report.devices[0]!.seenAgoMs).toBeGreaterThan(-1);
  expect('report' in line && line.report.streams[0]).toMatchObject({ received: 1 });
});

test('a shadow keeps what a device reported, tells what differs from what is desired, and is told of', async () => {
  const { client, stand, end, folder } = await begin();
  await client.tell(local, never);
  const desired = { version: 4, state: { rate: 5, lamp: { on: true } } };
  await client.feed(put(device('a', { desired })), never);
  const last = (verb: string) => {
    const found = stand.published.filter(({ topic }) => topic === `$skerry/shadow/a/${verb}`).at(-1);
    return found && found.text !== '' ? JSON.parse(found.text) : found?.text;
  };
  expect(last('delta')).toEqual(desired);
  const update = (value: unknown) => stand.hooks.ingest(message('$skerry/shadow/a/update', value));
  await update({ reported: { rate: 5, lamp: { on: false, hue: 3 } } });
  expect(last('accepted')).toMatchObject({ reported: { version: 1 }, delta: { lamp: { on: true } } });
  expect(last('delta')).toEqual({ version: 4, state: { lamp: { on: true } } });
  await update({ reported: { lamp: { on: true, hue: null } } });
  expect(last('delta')).toBe('');
  for (const wrong of [[], { reported: 1 }, { desired: {} }]) {
    await update(wrong);
    expect(last('rejected')).toHaveProperty('reason');
  }
  await stand.hooks.ingest(message('$skerry/shadow/a/get'));
  expect(last('accepted')).toMatchObject({
    reported: { version: 2, state: { rate: 5, lamp: { on: true } } },
  });
  await end();
  const again = await begin(folder);
  const told = await reported(again.client, (line) => 'report' in line && line.report.devices.length > 0);
  expect(told).toMatchObject({
    report: { devices: [{ name: 'a', connected: false, reported: { version: 2, state: { rate: 5 } } }] },
  });
});

test('a device that is away gets its delta when it comes back', async () => {
  const { client, stand, end, folder } = await begin();
  await client.tell(local, never);
  await client.feed(put(device('a', { desired: { version: 1, state: { on: true } } })), never);
  await end();
  const again = await begin(folder);
  again.stand.hooks.connected({ project: 'default', device: 'a' }, 'c1', '192.0.2.1');
  await eventually('the delta is there', () => again.stand.published.length === 1);
  expect(again.stand.published[0]).toMatchObject({ topic: '$skerry/shadow/a/delta', retain: true });
  expect(stand.published).toHaveLength(1);
});

test('a session that another node has is asked for and confirmed; without an answer there is none', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  await client.feed(put(device('a', { node: 'there' }), device('b', { node: 'here' })), never);
  const identity = { project: 'default', device: 'a' };
  expect(await stand.hooks.fetchSession?.(identity, 'c1', never)).toBeUndefined(); // nobody listens
  expect(await stand.hooks.fetchSession?.({ ...identity, device: 'b' }, 'c1', never)).toBeUndefined();
  const abort = new AbortController();
  const asked: unknown[] = [];
  const relay = (async () => {
    for await (const line of client.report(abort.signal)) {
      if (!('ask' in line)) continue;
      asked.push([line.ask.node, line.ask.call.verb]);
      await client.answer(line.ask.id, [{ clientId: 'c1' }], never);
    }
  })();
  const fetched = () => stand.hooks.fetchSession?.(identity, 'c1', never);
  let state: unknown;
  await eventually('the session is there', async () => {
    state = await fetched();
    return state !== undefined;
  });
  expect(state).toEqual({ clientId: 'c1' });
  stand.hooks.connected(identity, 'c1', '192.0.2.1');
  await eventually('it was confirmed', () => asked.length >= 2);
  expect(asked.at(-1)).toEqual(['there', 'session-taken']);
  abort.abort();
  await relay;
});

test('a session is given away whole, and gone when the other node has it', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  let done = 0;
  stand.session = { state: { clientId: 'c1' } as never, done: async () => void done++ };
  const of = { project: 'default', device: 'a', clientId: 'c1' };
  const given: unknown[] = [];
  for await (const state of client.call({ verb: 'session-take', ...of }, never)) given.push(state);
  expect(given).toEqual([{ clientId: 'c1' }]);
  expect([stand.disconnected, done]).toEqual([['a moved'], 0]);
  for await (const _ of client.call({ verb: 'session-taken', ...of }, never));
  expect(done).toBe(1);
});

test('calls are answered, and what goes wrong keeps its code', async () => {
  const { client, stand } = await begin();
  await client.tell(local, never);
  await client.feed(put(stream('one', {})), never);
  await eventually('the flow is there', () => stand.flows.size === 1);
  const all = async (call: Parameters<HubClient['call']>[0]) => {
    const values: unknown[] = [];
    for await (const value of client.call(call, never)) values.push(value);
    return values;
  };
  expect(await all({ verb: 'stream-tail', project: 'default', stream: 'one' })).toMatchObject([
    { place: 'from' },
  ]);
  expect(await all({ verb: 'series-list', project: 'default' })).toEqual([{ verb: 'series-list' }]);
  await expect(all({ verb: 'stream-tail', project: 'default', stream: 'two' })).rejects.toMatchObject({
    code: 'not_found',
  });
  const payload = Buffer.from('on').toString('base64');
  await all({ verb: 'publish', project: 'default', topic: 'commands/a/x', payload, qos: 1, retain: false });
  expect(stand.published.at(-1)).toMatchObject({ topic: 'commands/a/x', text: 'on' });
});
