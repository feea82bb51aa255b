import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processesWithArgument } from '@skerry/host';
import { newId } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Runtime } from '../port.ts';
import { enginePaths } from './engine-config.ts';
import { shimSocket } from './leftovers.ts';
import { createWorld, guestSpec, logText, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
const signal = AbortSignal.timeout(300_000);
beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
});
afterAll(() => world.end());

test('a container is created, runs, stops when asked, and leaves nothing', async () => {
  const spec = guestSpec(
    world.images,
    shell('trap "exit 7" TERM; echo ready; while true; do sleep 0.05; done'),
  );
  const created = await runtime.apply({ do: 'create', spec }, signal);
  expect(created.state).toBe('created');
  const running = await runtime.apply({ do: 'start', uid: spec.uid }, signal);
  expect(running).toMatchObject({ state: 'running', incarnation: '1' });
  expect(await runtime.recover(spec.uid, signal)).toEqual(running);
  expect(await runtime.list(signal)).toEqual([spec.uid]);
  const stopped = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 5000 as never }, signal);
  expect(stopped).toMatchObject({ state: 'exited', exit: { reason: 'stopped', code: 7 } });
  expect(await logText(runtime, spec.uid)).toBe('ready');
  expect(await runtime.apply({ do: 'remove', uid: spec.uid }, signal)).toEqual({ state: 'absent' });
  expect(await runtime.list(signal)).toEqual([]);
});

test('a start that is broken off at any moment leaves nothing in the way of the next one', async () => {
  for (const afterMs of [5, 20, 35, 50, 65, 80, 95, 110, 130, 150]) {
    const spec = guestSpec(world.images, shell('sleep 1000'));
    const breakOff = new AbortController();
    setTimeout(() => breakOff.abort(), afterMs); // the moment is what is tested
    await runtime.apply({ do: 'create', spec }, breakOff.signal).catch(() => undefined);
    await runtime.recover(spec.uid, signal);
    expect(await runtime.apply({ do: 'create', spec }, signal)).toMatchObject({ state: 'created' });
    expect(await runtime.apply({ do: 'start', uid: spec.uid }, signal)).toMatchObject({ state: 'running' });
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    expect(processesWithArgument(spec.uid)).toEqual([]);
  }
});

test('a removal that is broken off at any moment leaves nothing to the next one, also no shim that containerd forgot', async () => {
  for (let attempt = 0; attempt < 24; attempt++) {
    const spec = guestSpec(world.images, shell('sleep 1000'));
    await run(runtime, spec);
    const breakOff = new AbortController();
    setTimeout(() => breakOff.abort(), 10 + 3 * attempt); // the moment is what is tested
    await runtime.apply({ do: 'remove', uid: spec.uid }, breakOff.signal).catch(() => undefined);
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    // A shim that containerd starts to clear up ends by itself; one that is forgotten stays for good.
    await eventually('every process of it has ended', () => processesWithArgument(spec.uid).length === 0);
  }
});

test('a shim of a guest that nobody knows is found and taken away', async () => {
  const uid = newId<'instance'>();
  const space = world.identity.engineNamespace;
  const words = ['-namespace', space, '-id', uid];
  const shim = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)', '--', ...words]);
  const ended = once(shim, 'exit');
  writeFileSync(shimSocket(enginePaths(world.identity).socket, space, uid), '');
  expect(await runtime.list(signal)).toEqual([uid]);
  await runtime.recover(uid, signal);
  expect(await runtime.list(signal)).toEqual([]);
  expect((await ended)[1]).toBe('SIGKILL');
});

test('a folder of a task that containerd does not know is no hindrance', async () => {
  const spec = guestSpec(world.images, shell('sleep 1000'));
  const { folder } = enginePaths(world.identity);
  const tasks = join(folder, 'state/io.containerd.runtime.v2.task', world.identity.engineNamespace);
  mkdirSync(join(tasks, spec.uid, 'rootfs'), { recursive: true });
  await runtime.apply({ do: 'create', spec }, signal);
  expect(await runtime.apply({ do: 'start', uid: spec.uid }, signal)).toMatchObject({ state: 'running' });
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
  expect(readdirSync(tasks)).toEqual([]);
});
