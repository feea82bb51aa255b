// A Docker engine tells of the kernel's killer and of the end that it brought by two ways, in either order.
import { type Id, newId } from '@skerry/model';
import { expect, test } from 'vitest';
import type { EngineApi, Inspected } from './engine-api.ts';
import type { EngineFacts } from './engine-facts.ts';
import { Judge } from './judge.ts';
import type { Records } from './record.ts';

const MiB = 1024 * 1024;

/** An engine whose word of the killer comes with the `after`th question. */
function judged(code: number, after: number, record: object = {}) {
  let asked = 0;
  const inspected = (isKilled: boolean): Inspected =>
    ({
      Id: 'x',
      State: { Status: 'exited', ExitCode: code, OOMKilled: isKilled, FinishedAt: '2026-01-01T00:00:00Z' },
    }) as Inspected;
  const api = { call: async () => inspected(++asked >= after) } as unknown as EngineApi;
  let kept: object = { spec: { memoryBytes: 16 * MiB }, ...record };
  const records = {
    read: () => kept,
    change: (_: Id<'instance'>, change: object) => {
      kept = { ...kept, ...change };
    },
  } as unknown as Records;
  const judge = new Judge(api, records, () => ({ flavour: 'docker' }) as EngineFacts);
  return { exit: judge.exit(newId(), inspected(false)), asked: () => asked };
}

test('the word of the killer that comes after that of the end is waited for', async () => {
  expect(await judged(137, 3).exit).toMatchObject({
    reason: 'oom',
    message: 'used more than its 16MiB of memory',
  });
});

test('one that was killed by somebody else is not taken for out of memory', async () => {
  expect(await judged(137, Number.POSITIVE_INFINITY).exit).toMatchObject({
    reason: 'signal',
    signal: 'SIGKILL',
  });
});

test.each([
  ['an end that no killer brings', 3, {}],
  ['an end that was asked for', 137, { stop: 'killed' }],
])('nothing is waited for after %s', async (_, code, record) => {
  const { exit, asked } = judged(code, 1, record);
  expect((await exit).reason).not.toBe('oom');
  expect(asked()).toBe(0);
});
