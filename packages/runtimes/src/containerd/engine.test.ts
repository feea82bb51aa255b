import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  cgroupFolders,
  endProcess,
  isAlive,
  mountsBelow,
  type ProcessRef,
  processesWithArgument,
  processRef,
  unmountBelow,
} from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import type { GuestEvent, Runtime } from '../port.ts';
import { enginePaths } from './engine-config.ts';
import { shimSocket } from './leftovers.ts';
import { createWorld, guestSpec, logText, run, shell, type World } from './testing/world.ts';

const signal = AbortSignal.timeout(300_000);
const engineOf = (world: World) =>
  JSON.parse(readFileSync(enginePaths(world.identity).record, 'utf8')) as ProcessRef;

async function withWorld(use: (world: World, runtime: Runtime) => Promise<void>): Promise<void> {
  const world = await createWorld();
  try {
    const runtime = world.runtime();
    await runtime.start(signal);
    await use(world, runtime);
  } finally {
    await world.end();
  }
}

test('containerd killed under a running container: the container goes on, the engine comes back, ends are heard again', () =>
  withWorld(async (world, runtime) => {
    const heard: GuestEvent[] = [];
    void (async () => {
      for await (const event of runtime.events(signal)) heard.push(event);
    })();
    const spec = guestSpec(
      world.images,
      // not before who told it has ended: its own end would take that one along
      shell(
        'i=0; while [ ! -e /data/go ]; do echo $i; i=$((i+1)); sleep 0.02; done; while [ -e /proc/$(cat /data/go) ]; do sleep 0.02; done; exit 4',
      ),
    );
    const running = await run(runtime, spec);
    const first = engineOf(world);
    await endProcess(first, 0);
    await eventually('listeners are told to look again', () =>
      heard.some((event) => event.type === 'resync'),
    );
    expect(engineOf(world).pid).not.toBe(first.pid);
    expect(await runtime.recover(spec.uid, signal)).toEqual(running);
    const before = (await logText(runtime, spec.uid)).length;
    await eventually('it still writes', async () => (await logText(runtime, spec.uid)).length > before);
    const session = await runtime.exec!.exec(
      spec.uid,
      { command: ['/bin/sh', '-c', 'echo $$ > /data/new; mv /data/new /data/go'], terminal: false },
      signal,
    );
    expect(await session.exit).toBe(0);
    await eventually('its end', () =>
      heard.some((event) => event.type === 'exited' && event.exit.code === 4),
    );
  }));

test('an end while containerd was dead is found afterwards, with its code', () =>
  withWorld(async (world, runtime) => {
    const spec = guestSpec(world.images, shell('while true; do sleep 0.1; done'));
    const running = await run(runtime, spec);
    await runtime.stop();
    await endProcess(engineOf(world), 0);
    if (running.state === 'running') await endProcess(processRef(running.pid)!, 0);
    const next = world.runtime();
    await next.start(signal);
    expect(await next.recover(spec.uid, signal)).toMatchObject({
      state: 'exited',
      exit: { reason: 'signal', signal: 'SIGKILL', code: 137 },
    });
  }));

test('a new runtime object finds engine and guests of the old one, in every state', () =>
  withWorld(async (world, runtime) => {
    const [up, made, over, hungry] = [
      guestSpec(world.images),
      guestSpec(world.images),
      guestSpec(world.images, shell('exit 2')),
      guestSpec(world.images, shell('sleep 0.5; tail /dev/zero')),
    ];
    const running = await run(runtime, up);
    await runtime.apply({ do: 'create', spec: made }, signal);
    await run(runtime, over);
    await eventually(
      'one has ended',
      async () => (await runtime.recover(over.uid, signal)).state === 'exited',
    );
    const last = await run(runtime, hungry);
    const engine = engineOf(world);
    await runtime.stop();
    const hungryProcess = last.state === 'running' ? processRef(last.pid) : undefined;
    await eventually('one ends while nobody listens', () => !hungryProcess || !isAlive(hungryProcess));
    const next = world.runtime();
    await next.start(signal);
    expect(engineOf(world)).toEqual(engine);
    expect((await next.list(signal)).sort()).toEqual([up, made, over, hungry].map((spec) => spec.uid).sort());
    expect(await next.recover(up.uid, signal)).toEqual(running);
    expect(await next.recover(made.uid, signal)).toEqual({ state: 'created', incarnation: '1' });
    expect(await next.recover(over.uid, signal)).toMatchObject({ state: 'exited', exit: { code: 2 } });
    expect(await next.recover(hungry.uid, signal)).toMatchObject({
      state: 'exited',
      exit: { reason: 'oom' },
    });
    expect((await next.apply({ do: 'start', uid: made.uid }, signal)).state).toBe('running');
  }));

test('a power cut: with the run folder and every process gone, guests are told as vanished and made anew', () =>
  withWorld(async (world, runtime) => {
    const spec = guestSpec(world.images);
    const running = await run(runtime, spec);
    const paths = enginePaths(world.identity);
    await runtime.stop();
    await endProcess(engineOf(world), 0);
    for (const shim of processesWithArgument(paths.socket)) await endProcess(shim, 0);
    if (running.state === 'running') {
      const process = processRef(running.pid);
      if (process) await endProcess(process, 0);
    }
    await unmountBelow(paths.folder, signal);
    rmSync(world.identity.runDir, { recursive: true, force: true });
    const next = world.runtime();
    await next.start(signal);
    const state = await next.recover(spec.uid, signal);
    expect(state).toMatchObject({ state: 'exited', incarnation: '1', exit: { reason: 'vanished' } });
    let after = state;
    for (const step of next.plan(spec, state, spec.uid, 100 as never)) after = await next.apply(step, signal);
    expect(after.state).toBe('running');
  }));

test('a container that was half made when everything ended is taken away, and made anew', () =>
  withWorld(async (world, runtime) => {
    const spec = guestSpec(world.images);
    await runtime.apply({ do: 'create', spec }, signal);
    // Its shim ends with the machine; container, snapshot and folder stay.
    for (const shim of processesWithArgument(world.identity.engineNamespace)) await endProcess(shim, 0);
    await eventually('its task is gone', async () => {
      const state = await runtime.recover(spec.uid, signal);
      return state.state === 'absent' || state.state === 'exited';
    });
    const have = await runtime.recover(spec.uid, signal);
    let state = have;
    for (const step of runtime.plan(spec, have, spec.uid, 100 as never))
      state = await runtime.apply(step, signal);
    expect(state.state).toBe('running');
  }));

test('an engine that was started but never written down is found by its arguments', () =>
  withWorld(async (world, runtime) => {
    const engine = engineOf(world);
    await runtime.stop();
    rmSync(enginePaths(world.identity).record);
    const next = world.runtime();
    await next.start(signal);
    expect(engineOf(world)).toEqual(engine);
  }));

test('after destroy nothing is left: process, mount, control group, socket, file', async () => {
  const world = await createWorld();
  const { identity } = world;
  const paths = enginePaths(identity);
  const runtime = world.runtime();
  await runtime.start(signal);
  const specs = [guestSpec(world.images), guestSpec(world.images, { diskBytes: 8_388_608 as never })];
  for (const spec of specs) await run(runtime, spec);
  expect(mountsBelow(paths.folder).length).toBeGreaterThan(0);
  expect(existsSync(shimSocket(paths.socket, identity.engineNamespace, specs[0]!.uid))).toBe(true);
  await runtime.destroy(signal);
  try {
    for (const argument of [paths.config, paths.socket]) expect(processesWithArgument(argument)).toEqual([]);
    for (const folder of [identity.dataDir, identity.runDir]) expect(mountsBelow(folder)).toEqual([]);
    expect(cgroupFolders(identity.cgroup)).toEqual([]);
    for (const { uid } of specs) {
      expect(existsSync(shimSocket(paths.socket, identity.engineNamespace, uid))).toBe(false);
    }
    expect(existsSync(identity.runDir)).toBe(false);
    expect(readdirSync(identity.dataDir).sort()).toEqual(['identity.json', 'test-blobs']);
    expect(existsSync(join(identity.dataDir, 'guests'))).toBe(false);
  } finally {
    await world.end();
  }
});

test('on an engine of somebody else, only our own namespace is touched', () =>
  withWorld(async (world, runtime) => {
    const theirs = guestSpec(world.images);
    const running = await run(runtime, theirs);
    const engine = engineOf(world);
    const other = await createWorld();
    const ours = other.runtime({ address: enginePaths(world.identity).socket });
    try {
      await ours.start(signal);
      expect(await ours.list(signal)).toEqual([]);
      const spec = guestSpec(other.images, shell('echo hello; sleep 100'));
      expect((await run(ours, spec)).state).toBe('running');
      await eventually('its output', async () => (await logText(ours, spec.uid)) === 'hello');
      expect(await ours.probe(signal)).toContainEqual(
        expect.objectContaining({ name: 'container', ok: true }),
      );
      await ours.destroy(signal);
      expect(cgroupFolders(other.identity.cgroup)).toEqual([]);
      expect(processesWithArgument(other.identity.engineNamespace)).toEqual([]);
      expect(engineOf(world)).toEqual(engine);
      expect(await runtime.recover(theirs.uid, signal)).toEqual(running);
    } finally {
      await other.end();
    }
  }));
