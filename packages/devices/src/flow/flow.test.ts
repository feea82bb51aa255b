// A stream on the real queue, with steps and sinks small enough to see through.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StreamSink, StreamSpec } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Item, Message, Refused } from '../message.ts';
import { Busy, type Flow, NeverTaken, type Outgoing, type Sink, type Step } from '../ports.ts';
import { openQueue } from '../queue/queue.ts';
import { openFlow } from './flow.ts';
import type { FlowOptions } from './parts.ts';

let folder: string;
let taken: Map<string, Outgoing[]>;
let dead: Refused[];
/** What each sink does before it takes a batch. */
let before: (name: string, batch: readonly Outgoing[]) => void;
let flow: Flow | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-flow-'));
  taken = new Map();
  dead = [];
  before = () => undefined;
});
afterEach(async () => {
  await flow?.close();
  flow = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const nameOf = (spec: StreamSink): string => ('file' in spec ? spec.file.name : 'other');
const sink = (spec: StreamSink): Sink => ({
  ...{ kind: 'file', batch: 10, close: () => Promise.resolve() },
  async deliver(batch) {
    before(nameOf(spec), batch);
    taken.set(nameOf(spec), [...(taken.get(nameOf(spec)) ?? []), ...batch]);
  },
});

/** `sum`: adds up two values each, and holds the odd one. */
function summing(): Step {
  let held: Item[] = [];
  const added = (items: readonly Item[]): Item => ({
    ...items[0]!,
    ...{ id: `sum/${items[0]!.id}`, value: items.reduce((sum, { value }) => sum + (value as number), 0) },
  });
  return {
    kind: 'sum',
    process(items) {
      const all = [...held, ...items];
      const pairs = Array.from({ length: all.length >> 1 }, (_, at) => all.slice(2 * at, 2 * at + 2));
      held = all.slice(pairs.length * 2);
      return { items: pairs.map(added), refused: [] };
    },
    snapshot: () => held,
    restore(state) {
      held = state as Item[];
    },
    drain() {
      const items = held.length > 0 ? [added(held)] : [];
      held = [];
      return { items, refused: [] };
    },
  };
}
let guest: () => void = () => undefined;
const steps: Record<string, () => Step> = {
  filter: () => ({
    kind: 'filter',
    process: (items) => ({
      items: items.filter(({ value }) => (value as number) > 0),
      refused: items
        .filter(({ value }) => value === -1)
        .map((item) => ({ item, step: 'filter', reason: 'it is -1' })),
    }),
  }),
  window: summing,
  guest: () => ({
    kind: 'guest',
    process(items) {
      guest();
      return { items, refused: [] };
    },
  }),
};

const to = (name: string, queue?: StreamSpec['buffer']): StreamSink =>
  ({ file: { name }, ...(queue && { queue }) }) as StreamSink;
const spec = (of: Partial<StreamSpec>): StreamSpec => ({ from: { topics: ['#'] }, to: [to('out')], ...of });
const WINDOW = { window: { every: '1m', aggregates: {} } } as const;

const options = (of: Partial<StreamSpec>): FlowOptions => ({
  ...{ folder, project: 'default', name: 'warm', spec: spec(of), openQueue, makeSink: sink, sinkKey: nameOf },
  compile: (one) => ({
    decode: (message) => ({
      ...{ id: message.id, project: message.project, device: message.device, topic: message.topic },
      ...{
        atMs: message.receivedAtMs,
        value: JSON.parse(Buffer.from(message.payload).toString()) as unknown,
      },
    }),
    steps: (one.steps ?? []).map((step) => steps[Object.keys(step)[0]!]!()),
    priority: () => () => 0,
  }),
  device: () => undefined,
  deadLetter: (_, refused) => dead.push(refused),
  now: Date.now,
});
const message = (id: number, value: unknown = id): Message => ({
  ...{ id: `m-${id}`, project: 'default', device: `d${id % 3}`, topic: 't', receivedAtMs: Date.now() },
  ...{ qos: 1, retain: false, payload: Buffer.from(JSON.stringify(value)) },
});
const send = (from: number, until: number) =>
  Promise.all(Array.from({ length: until - from }, (_, at) => flow!.take(message(from + at))));
const out = (name = 'out') => (taken.get(name) ?? []).map(({ id }) => id);
const arrived = (count: number, name = 'out') =>
  eventually(`${count} messages at ${name}`, () => out(name).length >= count, { withinMs: 10_000 });

test('each message goes through the steps to every sink, in order', async () => {
  flow = await openFlow(options({ steps: [{ filter: 'value > 0' }], to: [to('out'), to('other')] }));
  await send(0, 50);
  await arrived(49);
  await arrived(49, 'other');
  expect(out()).toEqual(Array.from({ length: 49 }, (_, at) => `m-${at + 1}`));
  expect(flow.counts()).toMatchObject({ received: 50, sent: 98, waiting: 0, dropped: 0, refused: 0 });
});

test('what a step refuses goes to the dead letters with its reason', async () => {
  flow = await openFlow(options({ steps: [{ filter: 'value > 0' }], deadLetter: 'dead' }));
  await flow.take(message(1, -1));
  await flow.take(message(2));
  await arrived(1);
  expect(dead.map(({ item, reason }) => [item.id, reason])).toEqual([['m-1', 'it is -1']]);
});

test('a sink that fails gets everything later, in order; one message that it never takes is left out and counted', async () => {
  let failures = 3;
  before = (_, batch) => {
    if (failures-- > 0) throw new Error('answers 500');
    if (batch.some(({ id }) => id === 'm-7')) throw new NeverTaken('m-7', 'answers 400');
  };
  flow = await openFlow(options({}));
  await send(0, 20);
  await arrived(19);
  expect(out()).toEqual(Array.from({ length: 20 }, (_, at) => `m-${at}`).filter((id) => id !== 'm-7'));
  expect(flow.counts()).toMatchObject({ refused: 1 });
});

test('a sink that waits holds the stream, the stream holds the device, and nothing is lost', async () => {
  let open = false;
  before = () => {
    if (!open) throw new Error('away');
  };
  const small = { size: '64KiB', whenFull: 'wait' } as const;
  flow = await openFlow(options({ to: [to('out', small)], buffer: small }));
  let count = 0;
  const text = 'x'.repeat(3000);
  await expect(
    (async () => {
      for (; count < 1000; count++) await flow.take(message(count, text));
    })(),
  ).rejects.toBeInstanceOf(Busy);
  expect(count).toBeGreaterThan(20);
  open = true;
  await arrived(count);
  expect(out()).toEqual(Array.from({ length: count }, (_, at) => `m-${at}`));
});

test('a step that fails is asked again until it answers, and nothing overtakes', async () => {
  let failures = 2;
  guest = () => {
    if (failures-- > 0) throw new Error('no instance is there');
  };
  flow = await openFlow(options({ steps: [{ guest: { workload: 'w' } }] }));
  const first = flow.take(message(0));
  await eventually('the reason', () => flow!.counts().failing?.includes('no instance'));
  await send(1, 10);
  await first;
  await arrived(10);
  expect(out()).toEqual(Array.from({ length: 10 }, (_, at) => `m-${at}`));
  expect(flow.counts().failing).toBeUndefined();
});

test('it goes on after a restart where it was, with what its steps held', async () => {
  flow = await openFlow(options({ steps: [WINDOW] }));
  await send(0, 5);
  await arrived(2);
  await flow.close();
  flow = await openFlow(options({ steps: [WINDOW] }));
  await send(5, 8);
  await arrived(4);
  expect(taken.get('out')!.map(({ payload }) => Number(Buffer.from(payload).toString()))).toEqual([
    1, 5, 9, 13,
  ]);
});

test('changed under way it loses nothing: what steps held comes out, and a former sink gets what waits for it', async () => {
  let away = true;
  before = (name) => {
    if (name === 'out' && away) throw new Error('away');
  };
  flow = await openFlow(options({ steps: [WINDOW] }));
  await send(0, 5);
  await flow.configure(spec({ steps: [{ filter: 'value > 0' }], to: [to('other')] }));
  await send(5, 8);
  await arrived(3, 'other');
  expect(out()).toEqual([]);
  away = false;
  await arrived(3);
  expect(taken.get('out')!.map(({ payload }) => Number(Buffer.from(payload).toString()))).toEqual([1, 5, 4]);
  expect(out('other')).toEqual(['m-5', 'm-6', 'm-7']);
});

test('paused it takes and keeps, and goes on later', async () => {
  flow = await openFlow(options({ paused: true }));
  await send(0, 5);
  expect(flow.counts()).toMatchObject({ waiting: 5, sent: 0 });
  await flow.configure(spec({}));
  await arrived(5);
});

test('who looks sees each message at each place', async () => {
  flow = await openFlow(options({ steps: [{ filter: 'value > 0' }] }));
  const ending = new AbortController();
  const lines = flow.tail(ending.signal)[Symbol.asyncIterator]();
  const first = lines.next();
  await flow.take(message(3));
  const seen = [(await first).value, (await lines.next()).value, (await lines.next()).value];
  expect(seen.map(({ place, value }) => [place, value])).toEqual([
    ['from', '3'],
    ['1 filter', '3'],
    ['to 1 file', '3'],
  ]);
  ending.abort();
  expect((await lines.next()).done).toBe(true);
});

test('a message that comes while a turn finds nothing to read is led through in the next', async () => {
  let isLate = false;
  flow = await openFlow({
    ...options({}),
    async openQueue(path, ...more) {
      const queue = await openQueue(path, ...more);
      if (!path.endsWith('input')) return queue;
      const read = queue.read.bind(queue);
      queue.read = async (...args) => {
        const entries = await read(...args);
        if (entries.length > 0 || isLate) return entries;
        isLate = true;
        void flow!.take(message(2));
        return entries;
      };
      return queue;
    },
  });
  await flow.take(message(0));
  await arrived(1);
  await flow.take(message(1)); // so soon after a checkpoint the next has a turn of its own, which has nothing to read
  await arrived(3);
  expect(out()).toEqual(['m-0', 'm-1', 'm-2']);
});
