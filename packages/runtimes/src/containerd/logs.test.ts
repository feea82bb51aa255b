import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LogLine } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Runtime } from '../port.ts';
import { createWorld, guestSpec, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const signal = AbortSignal.timeout(300_000);
const MiB = 1024 * 1024;
beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
});
afterAll(() => world.end());

type Uid = Parameters<Runtime['recover']>[0];
const ended = (uid: Uid) =>
  eventually('it ends', async () => (await runtime.recover(uid, signal)).state === 'exited');
async function all(lines: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const found: LogLine[] = [];
  for await (const line of lines) found.push(line);
  return found;
}

test('lines keep their stream, their time and their order; tail and since choose among them', async () => {
  const before = Date.now();
  const spec = guestSpec(
    world.images,
    shell('echo one; echo two >&2; sleep 0.3; echo three; printf "no end"'),
  );
  await run(runtime, spec);
  await ended(spec.uid);
  const lines = await all(runtime.logs(spec.uid, {}, signal));
  expect(lines.map((line) => line.text).sort()).toEqual(['no end', 'one', 'three', 'two']);
  expect(lines.find((line) => line.text === 'two')!.stream).toBe('stderr');
  expect(lines.find((line) => line.text === 'one')!.atMs).toBeGreaterThanOrEqual(before);
  expect((await all(runtime.logs(spec.uid, { tail: 2 }, signal))).map((line) => line.text)).toEqual([
    'three',
    'no end',
  ]);
  const sinceMs = lines.find((line) => line.text === 'three')!.atMs;
  expect(await all(runtime.logs(spec.uid, { sinceMs }, signal))).toHaveLength(2);
});

test('following sees each line as it comes and ends with the guest', async () => {
  const spec = guestSpec(
    world.images,
    shell('i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.02; done'),
  );
  await run(runtime, spec);
  const lines = await all(runtime.logs(spec.uid, { follow: true }, signal));
  expect(lines.map((line) => line.text)).toEqual(Array.from({ length: 20 }, (_, i) => `line ${i}`));
});

test('a quarter of a gigabyte of output neither stalls the guest nor fills the disk, and its end is kept', async () => {
  const spec = guestSpec(
    world.images,
    shell('yes "0123456789abcdef0123456789abcdef" | head -c 250000000; echo; echo the end'),
  );
  const begun = performance.now();
  await run(runtime, spec);
  await ended(spec.uid);
  const tookMs = performance.now() - begun;
  const folder = join(world.identity.dataDir, 'guests', spec.uid);
  const sizes = readdirSync(folder)
    .filter((name) => name.startsWith('log'))
    .map((name) => statSync(join(folder, name)).size);
  expect(sizes.length).toBe(2);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(5 * MiB);
  expect((await all(runtime.logs(spec.uid, { tail: 1 }, signal)))[0]!.text).toBe('the end');
  expect(tookMs).toBeLessThan(30_000);
});

test('a follower that is slower than the rotation goes on with what is kept', async () => {
  const spec = guestSpec(
    world.images,
    shell(
      'sleep 0.2; i=0; while [ $i -lt 12 ]; do yes "$i 0123456789abcdef" | head -c 1000000; echo; echo mark $i; i=$((i+1)); done',
    ),
  );
  await run(runtime, spec);
  const lines = await all(runtime.logs(spec.uid, { follow: true }, signal));
  expect(lines.at(-1)!.text).toBe('mark 11');
});

test('bytes that are no text and a line without end do no harm', async () => {
  const spec = guestSpec(
    world.images,
    shell('head -c 100000 /dev/urandom; echo; head -c 100000 /dev/zero | tr "\\\\0" x; echo; echo after'),
  );
  await run(runtime, spec);
  await ended(spec.uid);
  const lines = await all(runtime.logs(spec.uid, {}, signal));
  expect(lines.at(-1)!.text).toBe('after');
  expect(
    lines.filter((line) => /^x{100,}$/.test(line.text)).reduce((sum, line) => sum + line.text.length, 0),
  ).toBe(100_000);
});
