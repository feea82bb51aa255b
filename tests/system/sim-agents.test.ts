// Two hundred simulated agents in one process, joined to a real controller over the real protocol: what a change of one
// workload on each of them comes to, and that every agent is told of its own workloads only.
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SimEdge, startSimEdge } from '../support/sim-edge.ts';

const AGENTS = 200;
const LIMIT_MS = 30_000;

let edge: SimEdge;
beforeAll(async () => {
  edge = await startSimEdge(AGENTS);
}, 60_000);
afterAll(async () => {
  expect(await edge.end()).toEqual([]);
}, 60_000);

const manifests = (turn: number) =>
  Array.from({ length: AGENTS }, (_, at) =>
    JSON.stringify({
      apiVersion: 'skerry/v1',
      kind: 'Workload',
      metadata: { name: `w${at}` },
      spec: { runtime: 'sim', image: 'sim', env: { TURN: String(turn) } },
    }),
  ).join('\n---\n');
const runsTurn = (turn: number) => (instance: Instance) =>
  instance.spec.template.env?.TURN === String(turn) &&
  instance.status.phase === 'running' &&
  instance.status.observedGeneration === instance.metadata.generation;

test('every simulated agent joins with a token of its own and is a node that is ready', async () => {
  const items = await eventually('all are ready', async () => {
    const found = (await edge.client.node.list()).items;
    return found.filter((node) => node.status.phase === 'ready').length === AGENTS && found;
  });
  expect(new Set(items.map((node) => node.status.subnet)).size).toBe(AGENTS);
  expect((await edge.client.node.tokens()).items).toEqual([]);
});

test('a workload for each agent runs on each, and a change of all of them is observed by all', async () => {
  await edge.client.apply({ body: manifests(1) });
  await edge.all(AGENTS, runsTurn(1), LIMIT_MS);
  const before = new Map([...edge.instances].map(([name, { spec }]) => [name, spec.node]));
  expect(new Set(before.values()).size).toBe(AGENTS);
  await edge.client.apply({ body: manifests(2) });
  await edge.all(AGENTS, runsTurn(2), LIMIT_MS);
  for (const [name, { spec, status }] of edge.instances) {
    expect(spec.node).toBe(before.get(name));
    expect(status.restartCount).toBe(0);
  }
});

test('a controller that was killed has all agents back, and what it is told then is observed by all', async () => {
  const before = new Map(
    [...edge.instances].map(([name, { metadata, status }]) => [name, { metadata, status }]),
  );
  await edge.replaceController();
  await edge.client.apply({ body: manifests(3) });
  await edge.all(AGENTS, runsTurn(3), LIMIT_MS);
  for (const [name, { metadata, status }] of edge.instances) {
    expect(metadata.uid).toBe(before.get(name)!.metadata.uid);
    expect(status.restartCount).toBe(0);
  }
  const { items } = await edge.client.node.list();
  expect(items.filter((node) => node.status.phase === 'ready')).toHaveLength(AGENTS);
});

test('what is deleted is removed by every agent and forgotten by the controller', async () => {
  const names = [...edge.instances.values()].map(({ spec }) => spec.workload);
  await Promise.all(names.map((name) => edge.client.workload.delete({ project: 'default', name })));
  await edge.gone(LIMIT_MS);
});
