// An engine that goes away and returns: with its guests or without them, nothing is lost sight of and everything runs again.
import type { Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { run, shell } from '../containerd/testing/world.ts';
import type { Runtime } from '../port.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';
import { startDockerd } from './testing/dockerd.ts';
import type { PrivateEngine } from './testing/engine.ts';
import { startPodman } from './testing/podman.ts';

const signal = AbortSignal.timeout(300_000);
const STEADY = shell('trap "exit 0" TERM; while true; do sleep 0.05; done');

async function withBed(
  begin: () => Promise<PrivateEngine>,
  work: (bed: DockerBed, runtime: Runtime) => Promise<void>,
): Promise<void> {
  const bed = await makeDockerBed(begin);
  const runtime = bed.open();
  try {
    await runtime.start(signal);
    await work(bed, runtime);
  } finally {
    await runtime.stop();
    await runtime.destroy(signal);
    await bed.close();
  }
}

const levelOf = async (runtime: Runtime, name: string) =>
  (await runtime.probe(signal)).find((finding) => finding.name === name)?.level;

test.each([
  ['Docker with live-restore', startDockerd],
  ['Podman', startPodman],
])('%s is killed and comes back: guests went on, and are as they were', (_name, begin) =>
  withBed(begin, async (bed, runtime) => {
    expect(await levelOf(runtime, 'container.liveRestore')).toBe('ok');
    const spec = await bed.guest(STEADY);
    const state = await run(runtime, spec);
    const pid = state.state === 'running' && state.pid;
    const next = runtime.events(signal)[Symbol.asyncIterator]().next();
    next.catch(() => undefined);
    await bed.engine.kill();
    await expect(next).rejects.toMatchObject({ code: 'engine_unavailable' });
    await expect(runtime.recover(spec.uid, signal)).rejects.toMatchObject({ code: 'engine_unavailable' });
    expect(await levelOf(runtime, 'container')).toBe('missing');
    await bed.engine.start();
    await runtime.start(signal);
    expect(await runtime.recover(spec.uid, signal)).toMatchObject({ state: 'running', pid });
    const stop = { do: 'stop', uid: spec.uid, graceMs: 5000 as Millis } as const;
    expect(await runtime.apply(stop, signal)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    expect(await bed.leftovers(spec.uid)).toEqual([]);
  }),
);

test('one without live-restore takes its guests with it: it is told, said beforehand, and they run again', () =>
  withBed(
    () => startDockerd({ liveRestore: false }),
    async (bed, runtime) => {
      expect(await levelOf(runtime, 'container.liveRestore')).toBe('degraded');
      const spec = await bed.guest(STEADY);
      for (const how of ['SIGTERM', 'SIGKILL'] as const) {
        await runtime.apply({ do: 'create', spec }, signal);
        const before = await runtime.apply({ do: 'start', uid: spec.uid }, signal);
        expect(before).toMatchObject({ state: 'running' });
        await bed.engine.kill(how);
        await bed.engine.start();
        await runtime.start(signal);
        const after = await eventually('its end is known', async () => {
          const state = await runtime.recover(spec.uid, signal);
          return state.state === 'exited' && state;
        });
        expect(['completed', 'signal', 'vanished']).toContain(after.exit.reason);
        for (const step of runtime.plan(spec, after, spec.uid, 0 as Millis))
          await runtime.apply(step, signal);
        const again = await runtime.recover(spec.uid, signal);
        expect(again).toMatchObject({ state: 'running' });
        expect(again).not.toMatchObject({ pid: before.state === 'running' && before.pid });
      }
      await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
      expect(await bed.leftovers(spec.uid)).toEqual([]);
    },
  ));
