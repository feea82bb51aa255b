/**
 * What every runtime promises (port.ts): one suite, run over each of them on its real engine. For tests only; it is not
 * part of the package's face. A bed brings the runtime's own kind of guest and looks at the host for what is left.
 */
import type { Millis } from '@skerry/model';
import { SkerryError } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logAndCrowdPromises } from './conformance/logs-and-crowds.ts';
import { refusalPromises } from './conformance/refusals.ts';
import {
  GRACE,
  type GuestManner,
  noSignal,
  type Running,
  type RuntimeBed,
  type Uid,
} from './conformance/suite.ts';
import type { GuestEvent, GuestSpec, Runtime } from './port.ts';

export type { GuestManner, RuntimeBed } from './conformance/suite.ts';

/** Everything that is heard from now on, until `close`. */
function listen(runtime: Runtime) {
  const stop = new AbortController();
  const heard: GuestEvent[] = [];
  const events = runtime.events(stop.signal);
  const ended = (async () => {
    for await (const event of events) heard.push(event);
  })();
  const exits = (uid: Uid) =>
    heard.flatMap((one) => (one.type === 'exited' && one.uid === uid ? [one.exit] : []));
  return {
    exits,
    firstExit: (uid: Uid) => eventually('the end of the guest is told', () => exits(uid)[0]),
    close: async () => {
      stop.abort();
      await ended;
    },
  };
}

export function runtimeConformance(name: string, makeBed: () => Promise<RuntimeBed>): void {
  describe(`runtime ${name}`, () => {
    let bed: RuntimeBed;
    let runtime: Runtime;
    const uids = new Set<Uid>();
    const failure = () => bed.failure ?? { reason: 'error', code: bed.failCode };

    const renew = async () => {
      await runtime.stop();
      runtime = bed.open();
      await runtime.start(noSignal());
    };
    const make = async (manner: GuestManner) => {
      const spec = await bed.spec(manner);
      uids.add(spec.uid);
      return spec;
    };
    const converge = async (want: GuestSpec | undefined, uid: Uid, graceMs: Millis = GRACE) => {
      let state = await runtime.recover(uid, noSignal());
      for (const step of runtime.plan(want, state, uid, graceMs))
        state = await runtime.apply(step, noSignal());
      return state;
    };
    const run = async (manner: GuestManner) => {
      const spec = await make(manner);
      const state = await converge(spec, spec.uid);
      return { spec, uid: spec.uid, state };
    };
    const runSteadily = async (manner: 'steady' | 'stubborn' = 'steady') => {
      const { state, ...rest } = await run(manner);
      if (state.state !== 'running') throw new Error(`the guest does not run: ${JSON.stringify(state)}`);
      return { ...rest, state };
    };
    const remove = async (uid: Uid) => {
      await converge(undefined, uid, 0 as Millis);
      uids.delete(uid);
      expect(await bed.leftovers(uid)).toEqual([]);
    };

    beforeAll(async () => {
      bed = await makeBed();
      runtime = bed.open();
      await runtime.start(noSignal());
    });
    afterAll(async () => {
      for (const uid of uids) {
        await converge(undefined, uid, 0 as Millis).catch(() => undefined);
        await bed.leftovers(uid).catch(() => undefined);
      }
      await runtime.stop();
      await runtime.destroy(noSignal());
      await bed.close();
    });

    test('what runs as wanted needs no step, and repeated steps change nothing', async () => {
      const { spec, uid, state } = await runSteadily();
      expect(state.incarnation).toBe(spec.incarnation);
      expect(runtime.plan(spec, await runtime.recover(uid, noSignal()), uid, GRACE)).toEqual([]);
      for (const step of [
        { do: 'create', spec },
        { do: 'start', uid },
      ] as const) {
        expect(await runtime.apply(step, noSignal())).toMatchObject({ state: 'running', pid: state.pid });
      }
      await remove(uid);
    });

    test('create makes a guest that does not run yet', async () => {
      const spec = await make('steady');
      const created = { state: 'created', incarnation: spec.incarnation };
      expect(await runtime.apply({ do: 'create', spec }, noSignal())).toEqual(created);
      expect(await runtime.recover(spec.uid, noSignal())).toEqual(created);
      await renew();
      expect(await runtime.recover(spec.uid, noSignal())).toEqual(created);
      await remove(spec.uid);
    });

    test('a runtime that starts anew finds the same process, and hears of its end', async () => {
      const { uid, state } = await runSteadily();
      await renew();
      const listener = listen(runtime);
      const found = await runtime.recover(uid, noSignal());
      expect(found).toMatchObject({ state: 'running', pid: state.pid, incarnation: state.incarnation });
      expect(Math.abs((found as Running).startedAtMs - state.startedAtMs)).toBeLessThan(2000);
      await bed.kill(uid, state);
      expect(['signal', 'vanished']).toContain((await listener.firstExit(uid)).reason);
      expect(await runtime.recover(uid, noSignal())).toMatchObject({ state: 'exited' });
      expect(listener.exits(uid)).toHaveLength(1);
      await listener.close();
      await remove(uid);
    });

    test('another incarnation replaces the guest', async () => {
      const { spec, uid, state } = await runSteadily();
      const changed = { ...spec, incarnation: `${spec.incarnation}-2` };
      const steps = runtime.plan(changed, state, uid, GRACE).map((step) => step.do);
      expect(steps).toEqual(['stop', 'remove', 'create', 'start']);
      const after = await converge(changed, uid);
      expect(after).toMatchObject({ state: 'running', incarnation: changed.incarnation });
      expect((after as Running).pid).not.toBe(state.pid);
      await remove(uid);
    });

    test('a guest that is asked to stop ends as stopped, once', async () => {
      const listener = listen(runtime);
      const { uid } = await runSteadily();
      const stop = { do: 'stop', uid, graceMs: GRACE } as const;
      const stopped = { state: 'exited', exit: { reason: 'stopped' } };
      expect(await runtime.apply(stop, noSignal())).toMatchObject(stopped);
      expect(await runtime.apply(stop, noSignal())).toMatchObject(stopped);
      expect(await listener.firstExit(uid)).toMatchObject({ reason: 'stopped' });
      await renew();
      expect(await runtime.recover(uid, noSignal())).toMatchObject(stopped);
      expect(listener.exits(uid)).toHaveLength(1);
      await listener.close();
      await remove(uid);
    });

    test('a guest that does not stop in time is forced, soon after', async () => {
      const { uid } = await runSteadily('stubborn');
      const before = performance.now();
      const state = await runtime.apply({ do: 'stop', uid, graceMs: 300 as Millis }, noSignal());
      expect(performance.now() - before).toBeGreaterThanOrEqual(290);
      expect(performance.now() - before).toBeLessThan(10_000);
      expect(state).toMatchObject({ state: 'exited', exit: { reason: 'killed' } });
      await remove(uid);
    });

    test('an end by itself is told once, with its reason and its code', async () => {
      const listener = listen(runtime);
      const good = await run('completes');
      const bad = await run('fails');
      expect(await listener.firstExit(good.uid)).toMatchObject({ reason: 'completed' });
      const exit = await listener.firstExit(bad.uid);
      expect(exit).toMatchObject(failure());
      expect(exit.message).not.toBe('');
      expect(Math.abs(exit.atMs - Date.now())).toBeLessThan(60_000);
      expect(await runtime.recover(bad.uid, noSignal())).toMatchObject({ state: 'exited', exit });
      expect(await runtime.apply({ do: 'start', uid: bad.uid }, noSignal())).toMatchObject({
        state: 'exited',
      });
      expect(listener.exits(good.uid)).toHaveLength(1);
      expect(listener.exits(bad.uid)).toHaveLength(1);
      await listener.close();
      const { lastWords } = bed;
      if (lastWords !== undefined) {
        await eventually('the last words are in the log', async () => {
          const lines: string[] = [];
          for await (const line of runtime.logs(bad.uid, {}, noSignal())) lines.push(line.text);
          return lines.some((line) => line.includes(lastWords));
        });
      }
      await remove(good.uid);
      await remove(bad.uid);
    });

    test('an end that no runtime saw is found afterwards, with its reason', async () => {
      const spec = await make('fails');
      await runtime.apply({ do: 'create', spec }, noSignal());
      await runtime.apply({ do: 'start', uid: spec.uid }, noSignal());
      await renew();
      const found = await eventually('the end is found', async () => {
        const state = await runtime.recover(spec.uid, noSignal());
        return state.state === 'exited' && state;
      });
      expect(found.exit).toMatchObject(failure());
      await remove(spec.uid);
    });

    test('remove takes a running guest away, may be repeated, and leaves nothing', async () => {
      const { uid } = await runSteadily();
      const gone = { state: 'absent' };
      expect(await runtime.apply({ do: 'remove', uid }, noSignal())).toEqual(gone);
      expect(await runtime.apply({ do: 'remove', uid }, noSignal())).toEqual(gone);
      expect(await runtime.recover(uid, noSignal())).toEqual(gone);
      expect(await runtime.list(noSignal())).not.toContain(uid);
      uids.delete(uid);
      expect(await bed.leftovers(uid)).toEqual([]);
    });

    test('a list has guests that a former runtime made, in every state', async () => {
      const { uid } = await runSteadily();
      const spec = await make('steady');
      await runtime.apply({ do: 'create', spec }, noSignal());
      await renew();
      expect(await runtime.list(noSignal())).toEqual(expect.arrayContaining([uid, spec.uid]));
      await remove(uid);
      await remove(spec.uid);
    });

    test('a guest that runs can be measured, one that does not can not', async () => {
      const { uid } = await runSteadily();
      const stats = await runtime.stats(uid, noSignal());
      expect(stats.memoryBytes).toBeGreaterThan(0);
      expect(stats.cpuMs).toBeGreaterThanOrEqual(0);
      await remove(uid);
      await expect(runtime.stats(uid, noSignal())).rejects.toMatchObject({ code: 'guest_not_running' });
    });

    test('a guest that was never made can not be started', async () => {
      const { uid } = await bed.spec('steady');
      const start = runtime.apply({ do: 'start', uid }, noSignal());
      await expect(start).rejects.toBeInstanceOf(SkerryError);
      await expect(start).rejects.toMatchObject({ code: 'guest_start_failed' });
      expect(await bed.leftovers(uid)).toEqual([]);
    });

    const suite = {
      get bed() {
        return bed;
      },
      get runtime() {
        return runtime;
      },
      ...{ make, run, runSteadily, remove },
    };
    refusalPromises(suite);
    logAndCrowdPromises(suite);

    test('who listens no longer is let go', async () => {
      const listener = listen(runtime);
      await listener.close();
    });

    test('the probe says what works, in sentences', async () => {
      const findings = await runtime.probe(noSignal());
      expect(findings.find((finding) => finding.name === runtime.kind)).toMatchObject({ ok: true });
      for (const finding of findings) expect(finding.text.length).toBeGreaterThan(10);
    });
  });
}
