// The promises of every runtime, kept in memory and in a folder; and the timings and faults that only sim has.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bytes, type Millis, newId } from '@skerry/model';
import { ManualClock } from '@skerry/reconcile';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { type GuestManner, type RuntimeBed, runtimeConformance } from '../conformance.ts';
import type { GuestSpec } from '../port.ts';
import { createSimMemory, openSimFolder, type SimRecords } from './records.ts';
import { createSimRuntime, type SimRuntime } from './runtime.ts';

const signal = new AbortController().signal;

function simSpec(sim: NonNullable<GuestSpec['sim']>): GuestSpec {
  return {
    uid: newId<'instance'>(),
    name: 'pretender',
    project: 'default',
    workload: 'pretender',
    runtime: 'sim',
    incarnation: 'one',
    imageDigest: '',
    cpus: 1,
    memoryBytes: (16 * 1024 * 1024) as Bytes,
    pids: 1,
    env: {},
    addressing: 'static',
    ports: [],
    volumes: [],
    security: { readOnlyRoot: false, capabilities: [], userNamespace: false },
    sim,
  };
}

const MANNERS: Record<GuestManner, NonNullable<GuestSpec['sim']>> = {
  steady: {},
  stubborn: { ignoreStop: true },
  completes: { exitAfterMs: 20 },
  fails: { exitAfterMs: 30, exitCode: 3, logEveryMs: 10 },
};

function bedOver(
  openRecords: () => SimRecords,
  left: (uid: string) => string[],
  close: () => void,
): RuntimeBed {
  let runtime: SimRuntime;
  return {
    open: () => {
      runtime = createSimRuntime({ records: openRecords() });
      return runtime;
    },
    spec: async (manner) => simSpec(MANNERS[manner]),
    kill: async (uid) => runtime.kill(uid),
    leftovers: async (uid) => left(uid),
    close: async () => close(),
    lastWords: 'tick 3',
    failCode: 3,
  };
}

runtimeConformance('sim, in memory', async () => {
  const memory = createSimMemory();
  return bedOver(
    () => memory,
    (uid) => memory.list().filter((one) => one === uid),
    () => undefined,
  );
});

runtimeConformance('sim, in a folder', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'skerry-sim-'));
  const folder = join(parent, 'sim');
  return bedOver(
    () => openSimFolder(folder),
    (uid) => readdirSync(folder).filter((name) => name.startsWith(uid)),
    () => {
      const remains = existsSync(folder);
      rmSync(parent, { recursive: true, force: true });
      expect(remains).toBe(false);
    },
  );
});

const boot = async (runtime: SimRuntime, spec: GuestSpec) => {
  await runtime.apply({ do: 'create', spec }, signal);
  return runtime.apply({ do: 'start', uid: spec.uid }, signal);
};

test('timings are those of the configuration, by the clock that was given', async () => {
  const clock = new ManualClock();
  const runtime = createSimRuntime({ clock });
  const spec = simSpec({ startMs: 500, exitAfterMs: 60_000, exitReason: 'oom', exitCode: 137, cpus: 0.5 });
  let started = false;
  await runtime.apply({ do: 'create', spec }, signal);
  const start = runtime.apply({ do: 'start', uid: spec.uid }, signal).then(() => {
    started = true;
  });
  await clock.advance(499);
  expect(started).toBe(false);
  await clock.advance(1);
  await start;
  await clock.advance(10_000);
  expect(await runtime.stats(spec.uid, signal)).toMatchObject({ cpuMs: 5000 });
  await clock.advance(50_000);
  const { exit } = (await runtime.recover(spec.uid, signal)) as { exit: object };
  expect(exit).toMatchObject({ reason: 'oom', code: 137, atMs: clock.nowMs() });
});

test('a start that fails as configured leaves a guest that can be removed', async () => {
  const runtime = createSimRuntime();
  const spec = simSpec({ failStart: true });
  await expect(boot(runtime, spec)).rejects.toMatchObject({ code: 'guest_start_failed' });
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
  expect(await runtime.list(signal)).toEqual([]);
});

test('a create that fails as configured leaves nothing', async () => {
  const runtime = createSimRuntime();
  const spec = simSpec({ failCreate: true });
  await expect(boot(runtime, spec)).rejects.toMatchObject({ code: 'guest_start_failed' });
  expect(await runtime.list(signal)).toEqual([]);
});

test('a command gets the canned answer, its own words without one, and can be killed', async () => {
  const runtime = createSimRuntime();
  const run = async (sim: NonNullable<GuestSpec['sim']>, kill = false) => {
    const spec = simSpec(sim);
    await boot(runtime, spec);
    const session = await runtime.exec!.exec(spec.uid, { command: ['cat', '/x'], terminal: false }, signal);
    if (kill) await session.kill();
    let text = '';
    for await (const { data } of session.output) text += Buffer.from(data).toString();
    await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 0 as Millis }, signal);
    const late = runtime.exec!.exec(spec.uid, { command: ['true'], terminal: false }, signal);
    await expect(late).rejects.toMatchObject({ code: 'guest_not_running' });
    return [text, await session.exit];
  };
  expect(await run({ execOutput: 'ok', execExitCode: 4, execMs: 5 })).toEqual(['ok\n', 4]);
  expect(await run({})).toEqual(['cat /x\n', 0]);
  expect(await run({ execMs: 60_000 }, true)).toEqual(['cat /x\n', 137]);
});

test('thousands of guests that only run hold no timer, and each end is told once', async () => {
  const clock = new ManualClock();
  const counted = { armed: 0 };
  const runtime = createSimRuntime({
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, act) => {
        counted.armed++;
        return clock.after(delayMs, act);
      },
    },
  });
  const stop = new AbortController();
  const heard: string[] = [];
  const listening = (async () => {
    for await (const event of runtime.events(stop.signal)) if (event.type === 'exited') heard.push(event.uid);
  })();
  for (let i = 0; i < 5000; i++) await boot(runtime, simSpec({}));
  expect(counted.armed).toBe(0);
  const ending = Array.from({ length: 1000 }, (_, i) => simSpec({ exitAfterMs: 1000 + i }));
  for (const spec of ending) await boot(runtime, spec);
  expect(counted.armed).toBe(1000);
  await clock.advance(2000);
  await eventually('all ends are heard', () => heard.length >= 1000);
  stop.abort();
  await listening;
  expect(new Set(heard)).toEqual(new Set(ending.map((spec) => spec.uid)));
  expect(heard).toHaveLength(1000);
});

test('a slow start and a slow stop can be cancelled', async () => {
  const runtime = createSimRuntime();
  const stopping = simSpec({ stopMs: 60_000 });
  await boot(runtime, stopping);
  const cancel = AbortSignal.timeout(20);
  const stop = runtime.apply({ do: 'stop', uid: stopping.uid, graceMs: 90_000 as Millis }, cancel);
  await expect(stop).rejects.toMatchObject({ code: 'cancelled' });
  expect(await runtime.recover(stopping.uid, signal)).toMatchObject({ state: 'running' });
  const starting = simSpec({ startMs: 60_000 });
  await runtime.apply({ do: 'create', spec: starting }, signal);
  const start = runtime.apply({ do: 'start', uid: starting.uid }, AbortSignal.timeout(20));
  await expect(start).rejects.toMatchObject({ code: 'cancelled' });
  expect(await runtime.recover(starting.uid, signal)).toMatchObject({ state: 'created' });
});

test.each([
  [{ exitAfter: 3 }, /"exitAfter" is not known/],
  [{ startMs: 'soon' }, /startMs must be a number/],
  [{ ignoreStop: 1 }, /ignoreStop must be true or false/],
  [{ execOutput: 3 }, /execOutput must be a text/],
  [{ exitReason: 'boredom' }, /exitReason must be one of/],
])('a configuration that can not be meant is refused: %j', async (sim, message) => {
  const runtime = createSimRuntime();
  const create = runtime.apply({ do: 'create', spec: simSpec(sim as never) }, signal);
  await expect(create).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringMatching(message),
  });
});

test('a log can be followed while it is written, until the guest ends', async () => {
  const runtime = createSimRuntime();
  const spec = simSpec({ logEveryMs: 10, exitAfterMs: 55 });
  await boot(runtime, spec);
  const lines: string[] = [];
  for await (const line of runtime.logs(spec.uid, { follow: true }, signal)) lines.push(line.text);
  expect(lines).toEqual(['tick 1', 'tick 2', 'tick 3', 'tick 4', 'tick 5']);
});
