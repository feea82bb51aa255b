// Time series over two nodes, each with a store of its own, through the HTTP interface.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeLink } from '@skerry/contract';
import { openSeries, type SeriesStore } from '@skerry/devices';
import { SkerryError } from '@skerry/model';
import { parquetReadObjects } from 'hyparquet';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeNode, startFakeNode } from '../testing/fake-node.ts';
import { type Harness, startHarness } from '../testing/harness.ts';

const NOON = Date.parse('2026-06-15T12:00:00Z');
const project = 'default';

let folder: string;
let harness: Harness;
let stores: Readonly<Record<string, SeriesStore>>;
let nodes: FakeNode[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-series-'));
  harness = await startHarness({ node: false });
  const options = { sizeBytes: 2 ** 26, now: () => NOON };
  stores = {
    east: await openSeries(join(folder, 'east'), options),
    west: await openSeries(join(folder, 'west'), options),
  };
  nodes = [];
  for (const [at, name] of ['east', 'west', 'bare'].entries()) {
    const node = await startFakeNode(harness.controller.link, { name, subnet: `10.90.${at}.0/24` });
    nodes.push(node);
    const hub: NonNullable<NodeLink['hub']> = (call, signal) => {
      const store = stores[name];
      if (!store) throw new SkerryError('unavailable', 'this node takes no devices');
      return store.call(call as Parameters<SeriesStore['call']>[0], signal);
    };
    harness.controller.attachNode(name, { ...node.link, hub });
  }
});
afterEach(async () => {
  for (const node of nodes) await node.stop();
  await harness.close();
  for (const store of Object.values(stores)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

let nextId = 0;
const put = (node: string, device: string, atMs: number, ...values: number[]) =>
  stores[node]!.sink(project, 'temps').deliver(
    values.map((value, n) => ({
      ...{ id: `${nextId++}`, project, device, topic: 't', atMs: atMs + n * 1000 },
      payload: Buffer.from(String(value)),
    })),
    AbortSignal.timeout(60_000),
  );
async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}
const short = (points: { device: string; at: string; value: number }[]) =>
  points.map(({ device, at, value }) => `${at.slice(11, 19)} ${device} ${value}`);

test('series of several nodes are one, in order of time; a device that moved has one point per step', async () => {
  await put('east', 'a', NOON, 1, 2);
  await put('west', 'a', NOON + 500, 6);
  await put('west', 'b', NOON + 60_000, 7);
  const { series } = harness.client;
  const temps = { project, name: 'temps' };
  expect(short(await all(series.points(temps)))).toEqual([
    ...['12:00:00 a 1', '12:00:00 a 6', '12:00:01 a 2', '12:01:00 b 7'],
  ]);
  expect(short(await all(series.points({ ...temps, step: '1m' })))).toEqual(['12:00:00 a 3', '12:01:00 b 7']);
  for (const [aggregate, value] of [
    ['count', 3],
    ['sum', 9],
    ['min', 1],
    ['max', 6],
  ] as const)
    expect(short(await all(series.points({ ...temps, step: '1m', aggregate, device: ['a'] })))).toEqual([
      `12:00:00 a ${value}`,
    ]);
  expect(await all(series.points({ ...temps, limit: 2 }))).toHaveLength(2);
  const late = { from: '2026-06-15T12:00:01Z', to: '2026-06-15T12:01:00Z', field: ['value'] };
  expect(short(await all(series.points({ ...temps, ...late })))).toEqual(['12:00:01 a 2']);
  expect(short(await all(series.last(temps)))).toEqual(['12:00:01 a 2', '12:01:00 b 7']);
  expect(short(await all(series.last({ ...temps, node: 'west' })))).toEqual(['12:00:00 a 6', '12:01:00 b 7']);
});

test('a list adds the nodes up, and says which were silent', async () => {
  await put('east', 'a', NOON, 1, 2);
  await put('west', 'a', NOON + 500, 6);
  expect(await harness.client.series.list({ project })).toMatchObject({
    items: [{ name: 'temps', nodes: ['east', 'west'], points: 3, fields: ['value'] }],
    silent: ['bare'],
  });
  await expect(harness.client.series.list({ project, node: 'bare' })).rejects.toMatchObject({
    code: 'unavailable',
  });
  await expect(harness.client.series.list({ project, node: 'nobody' })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(all(harness.client.series.last({ project: 'none', name: 'temps' }))).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('a file is made of what all nodes have', async () => {
  await put('east', 'a', NOON, 1);
  await put('west', '=b', NOON + 1000, 2);
  const file = async (format: 'csv' | 'parquet') =>
    Buffer.concat(
      (await all(harness.client.series.export({ project, name: 'temps', format }))).map(({ data }) =>
        Buffer.from(data, 'base64'),
      ),
    );
  expect((await file('csv')).toString()).toBe(
    "time,device,field,value\r\n2026-06-15T12:00:00.000Z,a,value,1\r\n2026-06-15T12:00:01.000Z,'=b,value,2\r\n",
  );
  const bytes = await file('parquet');
  const rows = await parquetReadObjects({
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer,
  });
  expect(rows.map(({ device, value }) => [device, value])).toEqual([
    ['a', 1],
    ['=b', 2],
  ]);
});
