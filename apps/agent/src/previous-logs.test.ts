// A guest that crashes again and again: what it wrote in the run before can be read while it runs or waits.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Id } from '@skerry/model';
import { PreviousLogs } from '@skerry/runtimes';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bench } from './testing/bench.ts';

let dataDir: string;
let bench: Bench;
let uid: Id<'instance'>;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'skerry-agent-logs-'));
  bench = new Bench();
  uid = bench.controller.add('loop');
  bench.boot({ previousLogs: new PreviousLogs(dataDir) });
  await bench.until(() => bench.phase(uid) === 'running', 'runs');
});
afterEach(async () => {
  bench.life.kill();
  rmSync(dataDir, { recursive: true, force: true });
});

async function previous(): Promise<string[]> {
  const texts: string[] = [];
  const { signal } = new AbortController();
  for await (const { text } of bench.agent!.node.logs(uid, { previous: true }, signal)) texts.push(text);
  return texts;
}
const startsAgain = async (text: string) => {
  const before = bench.world.starts.get(uid)!;
  bench.world.exit(uid, 'error', text);
  await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
  await bench.until(() => bench.world.starts.get(uid)! > before, 'starts again');
  await bench.until(() => bench.phase(uid) === 'running', 'runs');
};

test('the log of the run before, of each in turn, also for an agent that was killed', async () => {
  expect(await previous()).toEqual([]);
  await startsAgain('no such table');
  expect(await previous()).toEqual(['no such table']);
  await startsAgain('out of ideas');
  expect(await previous()).toEqual(['out of ideas']);
  bench.boot({ previousLogs: new PreviousLogs(dataDir) });
  await bench.until(() => bench.agent!.instances().length === 1, 'is known again');
  expect(await previous()).toEqual(['out of ideas']);
});

test('it is gone with its guest', async () => {
  await startsAgain('no such table');
  bench.controller.delete(uid);
  await bench.until(() => bench.agent!.instances().length === 0, 'is gone');
  expect(readdirSync(join(dataDir, 'previous-logs'))).toEqual([]);
});

test('that it can not be kept does not keep the guest from starting', async () => {
  const taken = join(dataDir, 'file');
  writeFileSync(taken, '');
  bench.boot({ previousLogs: new PreviousLogs(taken) });
  await bench.until(() => bench.phase(uid) === 'running', 'runs');
  await startsAgain('no such table');
  expect(await previous()).toEqual([]);
});
