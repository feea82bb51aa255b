// A system keeps its files when it is started again or with other settings, and gets new ones with another image.
import type { Bytes, Millis } from '@skerry/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { type LxcBed, makeLxcBed } from './testing/bed.ts';

const signal = new AbortController().signal;
let bed: LxcBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = await makeLxcBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  await bed.close();
});

const converge = async (want: GuestSpec | undefined, { uid }: GuestSpec) => {
  let state = await runtime.recover(uid, signal);
  const steps = runtime.plan(want, state, uid, 2000 as Millis);
  for (const step of steps) state = await runtime.apply(step, signal);
  return steps.map((step) => step.do);
};
const sh = async ({ uid }: GuestSpec, script: string) => {
  const session = await runtime.exec!.exec(
    uid,
    { command: ['/bin/sh', '-c', script], terminal: false },
    signal,
  );
  let text = '';
  for await (const { data } of session.output) text += Buffer.from(data).toString();
  await session.exit;
  return text;
};

test('another incarnation with the same root has the files; another root begins anew', async () => {
  const spec = { ...bed.spec(), root: 'one' };
  await converge(spec, spec);
  await sh(spec, 'echo kept > /kept');
  const more = { ...spec, incarnation: 'more', memoryBytes: (spec.memoryBytes * 2) as Bytes };
  expect(await converge(more, spec)).toEqual(['stop', 'create', 'start']);
  expect(await sh(spec, 'cat /kept')).toBe('kept\n');
  const limited = { ...more, incarnation: 'limited', diskBytes: (64 * 1024 * 1024) as Bytes };
  await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 0 as Millis }, signal);
  const ended = await runtime.recover(spec.uid, signal);
  const create = runtime.apply({ do: 'create', spec: limited }, signal);
  await expect(create).rejects.toMatchObject({ code: 'unsupported' });
  expect(await runtime.recover(spec.uid, signal)).toEqual(ended);
  await converge(more, spec);
  expect(await sh(spec, 'cat /kept')).toBe('kept\n');
  const fresh = { ...spec, incarnation: 'fresh', root: 'two' };
  expect(await converge(fresh, spec)).toEqual(['stop', 'remove', 'create', 'start']);
  expect(await sh(spec, 'ls /kept 2>/dev/null')).toBe('');
  await converge(undefined, spec);
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});
