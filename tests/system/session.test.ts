// An agent's session with a controller, without guests: the certificate renews itself, and a new connection takes over.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControllerConnection, joinController, readCredentials } from '@skerry/app-agent/joined';
import type { NodeLink } from '@skerry/contract';
import { realClock } from '@skerry/reconcile';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Harness, startHarness } from '../../apps/controller/src/testing/harness.ts';

const DAY_MS = 86_400_000;
const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const report = {
  name: 'north',
  status: {
    arch: 'amd64',
    version: '0.1.0',
    kernel: '6.1',
    subnet: '10.66.0.0/22',
    capacity: { cpus: 2, memoryBytes: 2 ** 32, diskBytes: 2 ** 32 },
    findings: [],
  },
  overheadBytes: {},
};

let harness: Harness;
let dataDir: string;
beforeAll(async () => {
  harness = await startHarness({ https: true, node: false });
  dataDir = mkdtempSync(join(tmpdir(), 'skerry-session-'));
  const { token } = await harness.client.node.token({ body: { node: 'north' } });
  await joinController(dataDir, token, 'whatever');
});
afterAll(async () => {
  await harness.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const connection = (aheadMs: number, folder = dataDir) =>
  new ControllerConnection({
    ...{ dataDir: folder, credentials: readCredentials(folder)!, logger: quiet },
    clock: { ...realClock, nowMs: () => Date.now() + aheadMs, after: realClock.after.bind(realClock) },
    known: () => undefined,
    node: () => ({}) as NodeLink,
  });
const certificate = () => readFileSync(join(dataDir, 'agent/node.crt'), 'utf8');

test('a certificate is renewed when a third of its life is left, not before, and the node goes on with it', async () => {
  const first = certificate();
  const young = connection(0);
  await young.register(report as never);
  await young.report('north', { generation: 1, instances: [], volumes: [] });
  young.close();
  expect(certificate()).toBe(first);

  const old = connection(21 * DAY_MS);
  await old.register(report as never);
  await eventually('it is renewed', () => certificate() !== first);
  old.close();
  const next = connection(0);
  await next.register(report as never);
  next.close();
  expect((await harness.client.node.list()).items.map(({ metadata }) => metadata.name)).toEqual(['north']);
});

test('a machine that took the place of a node is the node from then on, and the old one does not come in any more', async () => {
  const other = mkdtempSync(join(tmpdir(), 'skerry-session-'));
  try {
    const { token } = await harness.client.node.token({ body: { node: 'north' } });
    await joinController(other, token, 'whatever');
    const before = connection(0);
    await expect(before.register(report as never)).rejects.toMatchObject({ code: 'forbidden' });
    before.close();
  } finally {
    rmSync(other, { recursive: true, force: true });
  }
});

test('a node that is taken out is cut off at once, turned away with the reason, and may join anew under its name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-session-'));
  const again = mkdtempSync(join(tmpdir(), 'skerry-session-'));
  const { node } = harness.client;
  // Another network than that of the node which is there: two that meet are refused.
  const west = { ...report, name: 'west', status: { ...report.status, subnet: '10.66.4.0/22' } };
  try {
    await joinController(folder, (await node.token({ body: { node: 'west' } })).token, 'whatever');
    const inside = connection(0, folder);
    await inside.register(west as never);
    const desired = inside.desired('west', new AbortController().signal)[Symbol.asyncIterator]();
    await desired.next();
    await node.delete({ name: 'west', force: true });
    await expect(desired.next()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(inside.register(west as never)).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('west was taken out'),
    });
    inside.close();
    const names = async () => (await node.list()).items.map(({ metadata }) => metadata.name);
    expect(await names()).not.toContain('west');

    await joinController(again, (await node.token({ body: {} })).token, 'west');
    const anew = connection(0, again);
    await anew.register(west as never);
    expect(await names()).toContain('west');
    anew.close();
  } finally {
    for (const path of [folder, again]) rmSync(path, { recursive: true, force: true });
  }
});
