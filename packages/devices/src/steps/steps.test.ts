// Steps of a stream, by what comes out of them.
import type { StreamSpec, StreamStep } from '@skerry/model';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { Item, Message } from '../message.ts';
import type { Step, StepContext } from '../ports.ts';
import { checkStream, compileStream } from './compile.ts';
import { robustZ } from './judge.ts';
import { Sketch } from './sketch.ts';

const T0 = Date.UTC(2026, 0, 1);
const context: StepContext = {
  nowMs: T0,
  device: (name) => (name === 'd1' ? { attributes: { room: 'kitchen' }, labels: { floor: '1' } } : undefined),
  signal: new AbortController().signal,
};
const spec = (of: Partial<StreamSpec>): StreamSpec => ({
  from: { topics: ['#'] },
  to: [{ file: { name: 'f' } }],
  ...of,
});
let ask = (items: readonly Item[]): Promise<readonly unknown[]> =>
  Promise.resolve(items.map(({ value }) => value));
const compiled = (of: Partial<StreamSpec>) =>
  compileStream(spec(of), { project: 'p', stream: 's', node: 'n', guest: () => (items) => ask(items) });
const step = (of: StreamStep): Step => compiled({ steps: [of] }).steps[0]!;
const item = (value: unknown, more: Partial<Item> = {}): Item => ({
  ...{ id: 'm', project: 'p', device: 'd1', topic: 't', atMs: T0, value },
  ...more,
});
const values = (items: readonly Item[]) => items.map(({ value }) => value);
const through = async (of: StreamStep, ...list: unknown[]) => {
  const { items, refused } = await step(of).process(
    list.map((value, at) => item(value, { id: `m${at}` })),
    context,
  );
  return { values: values(items), refused: refused.map(({ reason }) => reason) };
};
const message = (text: string): Message => ({
  ...{ id: 'm', project: 'p', device: 'd', topic: 't', receivedAtMs: T0, qos: 1, retain: false },
  payload: Buffer.from(text),
});

test('a payload is read as the stream says, with the moment of its event', () => {
  const read = (text: string, of: Partial<StreamSpec> = {}) => compiled(of).decode(message(text));
  expect(read('{"c":21.5}')).toMatchObject({ value: { c: 21.5 }, atMs: T0 });
  expect(read('21.5', { format: 'number' })).toMatchObject({ value: 21.5 });
  expect(read('on', { format: 'text' })).toMatchObject({ value: 'on' });
  for (const at of ['"2026-01-02T00:00:00Z"', Date.UTC(2026, 0, 2), Date.UTC(2026, 0, 2) / 1000])
    expect(read(`{"at":${at}}`, { time: 'at' })).toMatchObject({ atMs: Date.UTC(2026, 0, 2) });
  for (const bad of ['{', '{"at":"soon"}', '{"at":0}', '{"at":"2100-01-01T00:00:00Z"}', '\ufffe{']) {
    expect(read(bad, { time: 'at' })).toMatchObject({ step: 'from', reason: expect.any(String) as string });
  }
  expect(read(`${'['.repeat(100)}${']'.repeat(100)}`)).toMatchObject({
    reason: expect.stringContaining('nested') as string,
  });
});

test('filter and map take JSONata, with what is known of the message; what fails is refused with its reason', async () => {
  expect(await through({ filter: 'c > 20 and $device = "d1"' }, { c: 19 }, { c: 21 }, 'text')).toEqual({
    values: [{ c: 21 }],
    refused: [],
  });
  expect(await through({ map: '{ "f": c * 1.8 + 32, "topic": $topic }' }, { c: 100 })).toEqual({
    values: [{ f: 212, topic: 't' }],
    refused: [],
  });
  expect(await through({ map: 'nothing' }, { c: 1 })).toEqual({ values: [], refused: [] });
  expect((await through({ map: '$number(c)' }, { c: 'x' })).refused[0]).toContain('number');
});

test('an expression that would never end, and one that may take very long, are stopped', async () => {
  expect((await through({ map: '($f := function($x){ $f($x + 1) }; $f(1))' }, {})).refused[0]).toMatch(
    /deep|takes over/,
  );
  expect((await through({ map: '$sum([1..9999999].($ * 2))' }, {})).refused[0]).toMatch(/takes over/);
  // not by the clock: on a busy machine a message that is in order would be refused
  const clock = vi.spyOn(performance, 'now');
  let atMs = 0;
  clock.mockImplementation(() => (atMs += 1000));
  const slow = await through({ map: '$sum(list.($ * 2))' }, { list: [1, 2, 3] });
  clock.mockRestore();
  expect(slow).toEqual({ values: [12], refused: [] });
  expect(() => step({ filter: '$match(x, /(a+)+$/)' })).toThrow('regular expression');
  expect(await through({ filter: '$contains(x, /^a[0-9]+$/)' }, { x: 'a17' }, { x: 'b' })).toMatchObject({
    values: [{ x: 'a17' }],
  });
});

const MINUTE: StreamStep = {
  window: {
    every: '1m',
    aggregates: {
      n: { use: 'count' },
      mean: { of: 'c', use: 'mean' },
      p50: { of: 'c', use: 'p50' },
      last: { of: 'c', use: 'last' },
    },
  },
};
test('a tumbling window is told when its time is over, by the time of events', async () => {
  const window = step(MINUTE);
  const at = (seconds: number, c: number) => item({ c }, { atMs: T0 + seconds * 1000 });
  const { items } = await window.process([at(0, 1), at(30, 2), at(59, 6), at(61, 100)], context);
  expect(values(items)).toEqual([
    {
      ...{
        device: 'd1',
        from: '2026-01-01T00:00:00.000Z',
        to: '2026-01-01T00:01:00.000Z',
        n: 3,
        mean: 3,
        last: 6,
      },
      p50: expect.closeTo(2, 1) as number,
    },
  ]);
  const late = await window.process([at(5, 1)], context);
  expect(late.refused.map(({ reason }) => reason)).toEqual(['it is too late for its window']);
  const rest = window.drain!(context);
  expect(values(rest.items)).toMatchObject([{ n: 1, mean: 100 }]);
});

test('a window is told by the clock when nothing more comes', async () => {
  const window = step(MINUTE);
  await window.process([item({ c: 5 })], context);
  expect(window.dueAtMs!()).toBe(T0 + 60_000);
  expect(window.tick!({ ...context, nowMs: T0 + 59_000 }).items).toEqual([]);
  expect(values(window.tick!({ ...context, nowMs: T0 + 60_000 }).items)).toMatchObject([{ n: 1 }]);
  expect(window.dueAtMs!()).toBeUndefined();
});

test('lateness keeps a window open; sliding windows overlap; sessions end with a pause', async () => {
  const count = { n: { use: 'count' } } as const;
  const at = (seconds: number) => item({}, { atMs: T0 + seconds * 1000 });
  const patient = step({ window: { every: '1m', lateness: '10s', aggregates: count } });
  expect((await patient.process([at(0), at(65), at(59), at(70)], context)).items).toHaveLength(1);
  const sliding = step({ window: { every: '1m', slide: '30s', aggregates: count } });
  const slid = await sliding.process([at(0), at(40), at(200)], context);
  expect(values(slid.items)).toMatchObject([{ n: 1 }, { n: 2 }, { n: 1 }]);
  const session = step({ window: { session: '10s', aggregates: count } });
  const ended = await session.process([at(0), at(5), at(14), at(60)], context);
  expect(values(ended.items)).toMatchObject([
    { n: 3, from: '2026-01-01T00:00:00.000Z', to: '2026-01-01T00:00:24.000Z' },
  ]);
});

test('dedupe, threshold with hysteresis, anomaly, join, schema', async () => {
  expect((await through({ dedupe: { by: 'n' } }, { n: 1 }, { n: 1 }, { n: 2 })).values).toEqual([
    { n: 1 },
    { n: 2 },
  ]);
  const crossing = await through(
    { threshold: { field: 'c', above: 30, hysteresis: 2 } },
    ...[29, 31, 29, 31, 27, 35].map((c) => ({ c })),
  );
  expect(crossing.values).toEqual([
    { c: 31, state: 'above' },
    { c: 27, state: 'normal' },
    { c: 35, state: 'above' },
  ]);
  const steady = Array.from({ length: 50 }, (_, at) => ({ c: 20 + (at % 5) / 10 }));
  for (const method of ['robust-z', 'ewma'] as const) {
    const odd = await through({ anomaly: { field: 'c', method, limit: 6 } }, ...steady, { c: 90 }, ...steady);
    expect(odd.values).toMatchObject([{ c: 90, anomaly: true }]);
  }
  expect((await through({ join: {} }, { c: 1 })).values).toEqual([
    { c: 1, device: { name: 'd1', room: 'kitchen', labels: { floor: '1' } } },
  ]);
  const schema = { json: { type: 'object', required: ['c'], properties: { c: { type: 'number' } } } };
  expect(await through({ schema }, { c: 1 }, { c: 'x' })).toEqual({
    values: [{ c: 1 }],
    refused: ['/c must be number'],
  });
});

test('answers of a guest go on in the order of the messages; none drops, a list gives several', async () => {
  ask = async (items) => {
    const { n } = items[0]!.value as { n: number };
    await new Promise((resolve) => setTimeout(resolve, 20 - 4 * n));
    return [n === 1 ? undefined : n === 2 ? ['a', 'b'] : { n: n * 10 }];
  };
  const guest: StreamStep = { guest: { workload: 'w' } };
  const { items } = await step(guest).process(
    [0, 1, 2, 3].map((n) => item({ n }, { id: `m${n}` })),
    context,
  );
  expect(items.map(({ id, value }) => [id, value])).toEqual([
    ['m0', { n: 0 }],
    ['m2.0', 'a'],
    ['m2.1', 'b'],
    ['m3', { n: 30 }],
  ]);
  ask = () => new Promise(() => undefined);
  await expect(
    step({ guest: { workload: 'w', timeout: '20ms' } }).process([item({})], context),
  ).rejects.toThrow('no answer in 20 ms');
});

test('a percentile is within a hundredth of a value that was there', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (list, share) => {
        const sketch = new Sketch();
        for (const one of list) sketch.add(one);
        const sorted = [...list].sort((a, b) => a - b);
        const exact = sorted[Math.max(0, Math.ceil(share * list.length) - 1)]!;
        expect(Math.abs(sketch.at(share)! - exact)).toBeLessThanOrEqual(Math.abs(exact) * 0.0101 + 1e-8);
      },
    ),
  );
  expect(robustZ(10, [1, 2, 3])).toBeGreaterThan(3);
});

const STATEFUL: StreamStep[] = [
  MINUTE,
  {
    window: {
      every: '1m',
      slide: '20s',
      lateness: '15s',
      by: 'stream',
      aggregates: { s: { of: 'c', use: 'sum' }, p90: { of: 'c', use: 'p90' } },
    },
  },
  { window: { session: '30s', aggregates: { n: { use: 'count' } } } },
  { dedupe: { by: 'c' } },
  { threshold: { field: 'c', above: 5, below: 2, hysteresis: 1 } },
  { anomaly: { field: 'c', over: 10 } },
];
test.each(STATEFUL)('cut anywhere and restored it gives the same: %j', async (of) => {
  const reading = fc.record({
    c: fc.integer({ min: 0, max: 9 }),
    d: fc.integer({ min: 0, max: 2 }),
    after: fc.integer({ min: 0, max: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(reading, { maxLength: 60 }), fc.nat(), async (list, cut) => {
      let atMs = T0;
      const items = list.map(({ c, d, after }, index) => {
        atMs += after * 1000;
        return item({ c }, { id: `m${index}`, device: `d${d}`, atMs });
      });
      const whole = step(of);
      const expected = [
        ...(await whole.process(items, context)).items,
        ...(whole.drain?.(context).items ?? []),
      ];
      const place = items.length === 0 ? 0 : cut % items.length;
      const first = step(of);
      const before = (await first.process(items.slice(0, place), context)).items;
      const second = step(of);
      second.restore!(JSON.parse(JSON.stringify(first.snapshot!())));
      const after = (await second.process(items.slice(place), context)).items;
      expect([...before, ...after, ...(second.drain?.(context).items ?? [])]).toEqual(expected);
    }),
    { numRuns: 40 },
  );
});

test('no value makes a step throw', async () => {
  const all: StreamStep[] = [
    ...STATEFUL,
    { filter: 'c > 1' },
    { map: '{ "x": c }' },
    { join: {} },
    { sparkplug: {} },
    { schema: { json: { type: 'object' } } },
  ];
  const odd = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(JSON.parse('{"__proto__":{"c":1},"constructor":2}') as unknown, { c: 1e308 }, { c: -0 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(odd, fc.integer({ min: 0, max: 4e12 }))),
      fc.nat(all.length - 1),
      async (list, which) => {
        const items = list.map(([value, atMs], at) => item(value, { id: `m${at}`, atMs }));
        await step(all[which]!).process(items, context);
      },
    ),
    { numRuns: 200 },
  );
});

test('what a schema can not tell is told with its place', () => {
  const faults = (of: Partial<StreamSpec>) =>
    checkStream(spec(of)).map(({ path, message: text }) => `${path} ${text}`);
  expect(faults({ steps: [{ filter: 'c >' }] })[0]).toMatch(/^spec\.steps\[0\]\.filter .*character/);
  expect(faults({ steps: [{ window: { aggregates: {} } }] })).toEqual([
    'spec.steps[0].window takes one of every and session',
  ]);
  expect(faults({ steps: [{ threshold: { field: 'c' } }] })).toEqual([
    'spec.steps[0].threshold takes above, below or both',
  ]);
  expect(faults({ steps: [{ schema: { json: { type: 'nothing' } } }] })[0]).toContain('spec.steps[0].schema');
  expect(faults({ from: {} })).toEqual(['spec.from takes topics, or streams: true, or both']);
  expect(faults({ steps: [{ filter: 'c > 1' }, MINUTE] })).toEqual([]);
});
