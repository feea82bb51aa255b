// Real QEMU, real taps: pebble with a function, and what becomes of it when it is stopped, killed, or ends by itself.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cgroupFolders, identityOf } from '@skerry/host';
import { createImageStore, type ImageStore } from '@skerry/images';
import { type Bytes, type Id, type Millis, newId } from '@skerry/model';
import {
  addressOfSlot,
  chooseSubnet,
  createLinuxNetwork,
  macOfSlot,
  type NodeNetwork,
  parseSubnet,
} from '@skerry/network';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestEvent, GuestSpec, Runtime } from '../port.ts';
import { createQemuRuntime } from './runtime.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const pebble = join(root, 'guests/pebble');
const native = join(root, 'packages/runtimes/native');
const dataDir = mkdtempSync(join(tmpdir(), 'skerry-q-'));
const identity = identityOf(
  Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0'),
  dataDir,
);
const signal = new AbortController().signal;
const silent = { info: () => undefined, warn: () => undefined };
let network: NodeNetwork;
let images: ImageStore;
let runtime: Runtime;
let slot = 10;

const makeRuntime = () =>
  createQemuRuntime({
    identity,
    images,
    kernelPath: join(pebble, 'build/pebble.elf'),
    supervisorPath: join(native, 'build/skerry-run'),
    logger: silent,
  });

beforeAll(async () => {
  execFileSync('make', ['-s', '-C', pebble]);
  execFileSync('make', ['-s', '-C', native]);
  execFileSync('mkdir', ['-p', identity.runDir]);
  images = await createImageStore({ dataDir });
  network = createLinuxNetwork({ identity, subnet: await chooseSubnet(identity, signal), logger: silent });
  await network.start([], signal);
  runtime = makeRuntime();
  await runtime.start(signal);
});
afterAll(async () => {
  await runtime.stop();
  await runtime.destroy(signal);
  await network.stop();
  await network.destroy(signal);
  rmSync(dataDir, { recursive: true, force: true });
  rmSync(identity.runDir, { recursive: true, force: true });
});

const ECHO = 'export const handle = ({ path }: { path: string }) => ({ path });';

async function specOf(source: string, changes: Partial<GuestSpec> = {}): Promise<GuestSpec> {
  const uid = newId<'instance'>();
  const subnet = parseSubnet(network.subnet);
  const facts = await images.createFunction(source, 'f.ts');
  const at = slot++;
  const address = addressOfSlot(subnet, at);
  const attachment = await network.attach(
    { uid, hostname: `f-${at}`, kind: 'tap', slot: at, address, mac: macOfSlot(identity, at), ports: [] },
    signal,
  );
  return {
    uid,
    name: `f-${at}`,
    project: 'default',
    workload: 'f',
    runtime: 'unikernel',
    incarnation: 'one',
    imageDigest: facts.digest,
    cpus: 1,
    memoryBytes: (8 * 1024 * 1024) as Bytes,
    pids: 64,
    env: {},
    network: attachment,
    addressing: 'static',
    ports: [{ name: 'http', port: 8080, protocol: 'tcp' }],
    volumes: [],
    security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
    ...changes,
  };
}
const boot = async (spec: GuestSpec) => {
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
};
const get = (spec: GuestSpec, path = '/healthz') =>
  fetch(`http://${spec.network!.address}:8080${path}`, { signal: AbortSignal.timeout(2000) });
const answers = (spec: GuestSpec) => eventually('the guest answers', async () => (await get(spec)).ok);
const remove = async (uid: Id<'instance'>) => {
  await runtime.apply({ do: 'remove', uid }, signal);
  await network.detach(uid, signal);
};
async function firstExit(uid: Id<'instance'>, act: () => Promise<unknown>) {
  const stop = new AbortController();
  const events = runtime.events(stop.signal);
  await act();
  for await (const event of events as AsyncIterable<GuestEvent>) {
    if (event.type === 'exited' && event.uid === uid) {
      stop.abort();
      return event.exit;
    }
  }
  throw new Error('no exit was heard of');
}

test('a function answers as a guest with its own kernel, as an unprivileged user, with its log and its figures', async () => {
  const spec = await specOf(ECHO);
  const state = await boot(spec);
  expect(state).toMatchObject({ state: 'running', incarnation: 'one' });
  await answers(spec);
  expect(await (await get(spec, '/hello')).json()).toEqual({ path: '/hello' });
  const pid = (state as { pid: number }).pid;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t64042\t64042\t64042\t64042$/m);
  expect(status).toMatch(/^NoNewPrivs:\t1$/m);
  expect(status).toMatch(/^Seccomp:\t2$/m);
  expect((await runtime.stats(spec.uid, signal)).memoryBytes).toBeGreaterThan(1e6);
  expect(runtime.plan(spec, await runtime.recover(spec.uid, signal), spec.uid, 0 as Millis)).toEqual([]);
  const lines = [];
  for await (const line of runtime.logs(spec.uid, {}, signal)) lines.push(line.text);
  expect(lines.join('\n')).toMatch(/pebble/);
  await remove(spec.uid);
});

test('a runtime that starts anew finds the guest as it is, hears of its end, and the same process goes on', async () => {
  const spec = await specOf(ECHO);
  const { pid } = (await boot(spec)) as { pid: number };
  await runtime.stop();
  runtime = makeRuntime();
  await runtime.start(signal);
  expect(await runtime.list(signal)).toContain(spec.uid);
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
  await answers(spec);
  const exit = await firstExit(spec.uid, async () => process.kill(pid, 'SIGKILL'));
  expect(exit).toMatchObject({ reason: 'signal', signal: 'SIGKILL' });
  expect(await runtime.recover(spec.uid, signal)).toMatchObject({
    state: 'exited',
    exit: { reason: 'signal' },
  });
  await remove(spec.uid);
});

test('a guest that is asked to stop stops, and a repeated step does no harm', async () => {
  const spec = await specOf(ECHO);
  await boot(spec);
  await boot(spec);
  await answers(spec);
  const stop = { do: 'stop', uid: spec.uid, graceMs: 2000 as Millis } as const;
  expect(await runtime.apply(stop, signal)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  expect(await runtime.apply(stop, signal)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  await remove(spec.uid);
  await remove(spec.uid);
});

test('a function that does not load ends its guest, with the reason from the console', async () => {
  const spec = await specOf('export function handle() { return 1; }\nthrow new Error("no luck today");');
  const exit = await firstExit(spec.uid, () => boot(spec));
  expect(exit.reason).toBe('error');
  expect(exit.code).toBe(2);
  await remove(spec.uid);
});

test('a function that prints without end fills no disk: the console is kept at a bounded rate', async () => {
  const spec = await specOf(
    'export function handle() { for (let i = 0; i < 400; i++) console.log("x".repeat(250)); return "ok"; }',
  );
  await boot(spec);
  await answers(spec);
  for (let i = 0; i < 26; i++) await get(spec, '/print').then((answer) => answer.text());
  const size = execFileSync('du', ['-sb', join(dataDir, 'guests', spec.uid)], { encoding: 'utf8' });
  expect(Number.parseInt(size, 10)).toBeLessThan(3 * 1024 * 1024 + 512 * 1024);
  await remove(spec.uid);
});

test('the console can be read by several at once', async () => {
  const spec = await specOf('export function handle() { console.log("seen by both"); return "ok"; }');
  await boot(spec);
  await answers(spec);
  const done = new AbortController();
  const readers = await Promise.all([1, 2].map(() => runtime.console!.open(spec.uid, done.signal)));
  const seen = readers.map(async (reader) => {
    let text = '';
    for await (const data of reader.output) {
      text += Buffer.from(data).toString();
      if (text.includes('seen by both')) return true;
    }
    return false;
  });
  await get(spec, '/');
  expect(await Promise.all(seen)).toEqual([true, true]);
  done.abort();
  await remove(spec.uid);
});

test('after remove nothing of a guest is left', async () => {
  const spec = await specOf(ECHO);
  const { pid } = (await boot(spec)) as { pid: number };
  await remove(spec.uid);
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  expect(existsSync(join(identity.runDir, 'g', spec.uid))).toBe(false);
  expect(existsSync(join(dataDir, 'guests', spec.uid))).toBe(false);
  expect(cgroupFolders(`${identity.cgroup}/${spec.uid}`)).toEqual([]);
  expect(await runtime.recover(spec.uid, signal)).toEqual({ state: 'absent' });
});
