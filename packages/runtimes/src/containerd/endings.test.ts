import type { Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestEvent, GuestSpec, Runtime } from '../port.ts';
import { createWorld, guestSpec, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const listening = new AbortController();
const heard: GuestEvent[] = [];
const signal = AbortSignal.timeout(300_000);

beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
  void (async () => {
    for await (const event of runtime.events(listening.signal)) heard.push(event);
  })();
});
afterAll(async () => {
  listening.abort();
  await world.end();
});

const endOf = (spec: GuestSpec) =>
  eventually(`the end of ${spec.uid} is heard`, () => {
    const found = heard.find((event) => event.type === 'exited' && event.uid === spec.uid);
    return found?.type === 'exited' ? found.exit : undefined;
  });

test('an end of its own is heard with its code, and kept for whoever asks later', async () => {
  const fine = guestSpec(world.images, shell('exit 0'));
  const bad = guestSpec(world.images, shell('exit 3'));
  await Promise.all([run(runtime, fine), run(runtime, bad)]);
  expect(await endOf(fine)).toMatchObject({ reason: 'completed', code: 0 });
  expect(await endOf(bad)).toMatchObject({ reason: 'error', code: 3 });
  const state = await runtime.recover(bad.uid, signal);
  expect(state).toMatchObject({ state: 'exited', incarnation: '1', exit: { reason: 'error', code: 3 } });
  expect(heard.filter((event) => event.type === 'exited' && event.uid === bad.uid)).toHaveLength(1);
});

test('a signal from inside is told as a signal', async () => {
  const spec = guestSpec(world.images, shell('sh -c "kill -SEGV \\$\\$"; exit $?'));
  await run(runtime, spec);
  expect(await endOf(spec)).toMatchObject({ reason: 'signal', signal: 'SIGSEGV' });
});

test('more memory than allowed ends it, and the user hears why', async () => {
  const spec = guestSpec(world.images, shell('tail /dev/zero'));
  await run(runtime, spec);
  const exit = await endOf(spec);
  expect(exit).toMatchObject({ reason: 'oom', message: 'used more than its 64MiB of memory' });
  await eventually('the memory event', () =>
    heard.some((event) => event.type === 'oom' && event.uid === spec.uid),
  );
});

test('what ignores SIGTERM is forced once its grace is over', async () => {
  const spec = guestSpec(world.images, shell('trap "" TERM; while true; do sleep 0.1; done'));
  await run(runtime, spec);
  const begun = performance.now();
  const state = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 700 as Millis }, signal);
  const tookMs = performance.now() - begun;
  expect(state).toMatchObject({ state: 'exited', exit: { reason: 'killed', signal: 'SIGKILL' } });
  expect(tookMs).toBeGreaterThan(690);
  expect(tookMs).toBeLessThan(8000);
  expect(await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 700 as Millis }, signal)).toEqual(state);
});

test('a command that the image lacks fails to start with its name, and nothing is left of it', async () => {
  const spec = guestSpec(world.images, { command: ['/bin/no-such-program'] });
  await expect(runtime.apply({ do: 'create', spec }, signal)).rejects.toMatchObject({
    code: 'guest_start_failed',
    message: expect.stringContaining('/bin/no-such-program'),
  });
  expect(await runtime.recover(spec.uid, signal)).toEqual({ state: 'absent' });
  expect(await runtime.list(signal)).not.toContain(spec.uid);
});

test('an image that is not here, a user that the image lacks: each its own error', async () => {
  const missing = guestSpec(world.images, { imageDigest: `sha256:${'0'.repeat(64)}` });
  await expect(runtime.apply({ do: 'create', spec: missing }, signal)).rejects.toMatchObject({
    code: 'image_not_found',
  });
  const base = guestSpec(world.images);
  const nobody = { ...base, security: { ...base.security, user: 'no-such-user' } };
  await expect(runtime.apply({ do: 'create', spec: nobody }, signal)).rejects.toMatchObject({
    code: 'image_invalid',
  });
  expect(await runtime.list(signal)).not.toContain(nobody.uid);
});

test('creating twice gives the same guest, and removing twice none', async () => {
  const spec = guestSpec(world.images);
  const first = await run(runtime, spec);
  expect(await runtime.apply({ do: 'create', spec }, signal)).toEqual(first);
  expect(await runtime.apply({ do: 'start', uid: spec.uid }, signal)).toEqual(first);
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
  expect(await runtime.apply({ do: 'remove', uid: spec.uid }, signal)).toEqual({ state: 'absent' });
});
