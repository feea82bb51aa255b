// Real QEMU, real taps: pebble with a function and kernels of a few bytes, and what only this runtime promises.
import { readFileSync, writeFileSync } from 'node:fs';
import type { Millis, SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, GuestState, Runtime } from '../port.ts';
import { makeQemuBed, type QemuBed } from './testing/bed.ts';

const signal = new AbortController().signal;
let bed: QemuBed;
let runtime: Runtime;

beforeAll(async () => {
  bed = await makeQemuBed();
  runtime = bed.open();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  expect(await bed.close()).toEqual([]);
});

const boot = async (spec: GuestSpec) => {
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
};
const get = (spec: GuestSpec, path = '/healthz') =>
  fetch(`http://${spec.network!.address}:8080${path}`, { signal: AbortSignal.timeout(5000) });
const answers = (spec: GuestSpec) => eventually('the guest answers', async () => (await get(spec)).ok);
const remove = async ({ uid }: GuestSpec) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  expect(await bed.leftovers(uid)).toEqual([]);
};
const exitOf = (spec: GuestSpec) =>
  eventually('the guest ends', async () => {
    const state = await runtime.recover(spec.uid, signal);
    return state.state === 'exited' && state.exit;
  });
const running = (state: GuestState) => state as Extract<GuestState, { state: 'running' }>;

test('a function answers as a guest with its own kernel, as an unprivileged user that can gain nothing', async () => {
  const source = 'export const handle = ({ path }: { path: string }) => ({ path, env: process.env.WHO });';
  const spec = await bed.functionSpec(source, { env: { WHO: 'me & you' } });
  const { pid } = running(await boot(spec));
  await answers(spec);
  expect(await (await get(spec, '/hello')).json()).toEqual({ path: '/hello', env: 'me & you' });
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t64042\t64042\t64042\t64042$/m);
  expect(status).toMatch(/^Gid:\t64042\t64042\t64042\t64042$/m);
  expect(status).toMatch(/^CapEff:\t0+$/m);
  expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  expect(status).toMatch(/^Seccomp:\t2$/m);
  expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(`${bed.identity.cgroup}/${spec.uid}`);
  const { cpuMs, memoryBytes, memoryLimitBytes, pids } = await runtime.stats(spec.uid, signal);
  expect(cpuMs).toBeGreaterThan(1);
  expect(memoryBytes).toBeGreaterThan(4e6);
  expect(memoryBytes).toBeLessThan(memoryLimitBytes!);
  expect(pids).toBeGreaterThan(1);
  await remove(spec);
});

test('a guest outlives its agent: the same process answers on while no runtime is there', async () => {
  const spec = await bed.functionSpec('let count = 0; export const handle = () => ({ count: ++count });');
  await boot(spec);
  await answers(spec);
  await get(spec, '/');
  await runtime.stop();
  expect(await (await get(spec, '/')).json()).toEqual({ count: 2 });
  runtime = bed.open();
  await runtime.start(signal);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running' });
  expect(await (await get(spec, '/')).json()).toEqual({ count: 3 });
  await remove(spec);
});

test('a supervisor that is killed does not take its guest along; the end is then one that nobody saw', async () => {
  const spec = await bed.functionSpec('export const handle = () => "ok";');
  const { pid } = running(await boot(spec));
  await answers(spec);
  const supervisor = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
  process.kill(supervisor, 'SIGKILL');
  await answers(spec);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
  process.kill(pid, 'SIGKILL');
  expect(await exitOf(spec)).toMatchObject({ reason: 'vanished' });
  await remove(spec);
});

test('a function that does not load ends its guest, with the reason from the console', async () => {
  const spec = await bed.functionSpec(
    'export function handle() { return 1; }\nthrow new Error("no luck today");',
  );
  await boot(spec);
  expect(await exitOf(spec)).toMatchObject({ reason: 'error', code: 2 });
  await remove(spec);
});

test('a kernel that faults thrice is a panic, also for a runtime that did not watch', async () => {
  const spec = await bed.tinySpec('about to fall', 'triple-fault');
  await runtime.apply({ do: 'create', spec }, signal);
  await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  await runtime.stop();
  runtime = bed.open();
  await runtime.start(signal);
  const exit = await exitOf(spec);
  expect(exit).toMatchObject({ reason: 'panic' });
  expect(exit.message).toMatch(/faults thrice: about to fall/);
  await remove(spec);
});

test('a kernel that has no power button is switched off at once when it is asked to stop', async () => {
  const spec = await bed.tinySpec('deaf', 'halt');
  await boot(spec);
  const before = performance.now();
  const stop = { do: 'stop', uid: spec.uid, graceMs: 60_000 as Millis } as const;
  expect(await runtime.apply(stop, signal)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  expect(performance.now() - before).toBeLessThan(5000);
  await remove(spec);
});

test('a stop that is cancelled leaves the guest running, and its later end is its own', async () => {
  const spec = await bed.tinySpec('deaf', 'halt', 'multiboot');
  const { pid } = running(await boot(spec));
  const stop = { do: 'stop', uid: spec.uid, graceMs: 60_000 as Millis } as const;
  await expect(runtime.apply(stop, AbortSignal.timeout(50))).rejects.toMatchObject({ code: 'cancelled' });
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
  process.kill(pid, 'SIGTERM'); // QEMU ends properly on it: nobody of us asked
  expect((await exitOf(spec)).reason).not.toBe('stopped');
  await remove(spec);
});

test('the console can be read by several at once, none of whom misses what comes after', async () => {
  const spec = await bed.functionSpec(
    'export function handle() { console.log("seen by all"); return "ok"; }',
  );
  await boot(spec);
  await answers(spec);
  const done = new AbortController();
  const readers = await Promise.all([1, 2, 3].map(() => runtime.console!.open(spec.uid, done.signal)));
  const seen = readers.map(async (reader) => {
    let text = '';
    for await (const data of reader.output) {
      text += Buffer.from(data).toString();
      if (text.includes('seen by all')) return true;
    }
    return false;
  });
  await get(spec, '/');
  expect(await Promise.all(seen)).toEqual([true, true, true]);
  done.abort();
  await remove(spec);
});

test('an image of another kind, a folder to mount, a network of another kind: refused before anything is made', async () => {
  const spec = await bed.tinySpec('x', 'halt');
  const network = { kind: 'netns', netns: 'n', path: '/n' } as unknown as NonNullable<GuestSpec['network']>;
  const volumes = [{ name: 'v', hostPath: '/v', mount: '/v', readOnly: false }];
  const codeOf = (changes: Partial<GuestSpec>) =>
    runtime.apply({ do: 'create', spec: { ...spec, ...changes } }, signal).then(
      () => 'made',
      (error: SkerryError) => error.code,
    );
  expect(await codeOf({ imageDigest: `sha256:${'0'.repeat(64)}` })).toBe('image_not_found');
  expect(await codeOf({ network })).toBe('unsupported');
  expect(await codeOf({ volumes })).toBe('unsupported');
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});

test('memory that QEMU can not have is told as the reason why it did not start', async () => {
  const spec = await bed.tinySpec('x', 'halt');
  const enormous = { ...spec, memoryBytes: (2 ** 52) as GuestSpec['memoryBytes'] };
  await runtime.apply({ do: 'create', spec: enormous }, signal);
  const start = runtime.apply({ do: 'start', uid: spec.uid }, signal);
  await expect(start).rejects.toMatchObject({
    code: 'guest_start_failed',
    message: expect.stringMatching(/memory|RAM/i),
  });
  await remove(spec);
});

test('a guest that is made but whose record was lost in a power cut can be removed', async () => {
  const spec = await bed.functionSpec('export const handle = () => "ok";');
  await boot(spec);
  writeFileSync(`${bed.identity.dataDir}/guests/${spec.uid}/unikernel.json`, '');
  const state = await runtime.recover(spec.uid, signal);
  expect(state).toMatchObject({ state: 'exited', exit: { reason: 'vanished' } });
  expect(await runtime.list(signal)).toContain(spec.uid);
  for (const step of runtime.plan(undefined, state, spec.uid, 0 as Millis)) await runtime.apply(step, signal);
  expect(await bed.leftovers(spec.uid)).toEqual([]);
});
