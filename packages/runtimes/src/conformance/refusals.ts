/** Part of the conformance suite: what can't be done is refused with a code, at once, and leaves nothing half done. */
import type { Millis } from '@skerry/model';
import { expect, test } from 'vitest';
import { GRACE, noSignal, type Suite } from './suite.ts';

const CANCEL_AFTER_MS = 200;

export function refusalPromises(suite: Suite): void {
  test('a step that was cancelled beforehand is not done', async () => {
    const spec = await suite.make('steady');
    const create = suite.runtime.apply({ do: 'create', spec }, AbortSignal.abort());
    await expect(create).rejects.toMatchObject({ code: 'cancelled' });
    expect(await suite.runtime.recover(spec.uid, noSignal())).toEqual({ state: 'absent' });
    await suite.remove(spec.uid);
  });

  test('a stop that is cancelled while it waits returns soon, and the guest goes on', async () => {
    const { uid, state } = await suite.runSteadily('stubborn');
    const before = performance.now();
    const cancel = AbortSignal.timeout(CANCEL_AFTER_MS);
    const stop = suite.runtime.apply({ do: 'stop', uid, graceMs: 60_000 as Millis }, cancel);
    await expect(stop).rejects.toMatchObject({ code: 'cancelled' });
    expect(performance.now() - before).toBeLessThan(20_000);
    const after = await suite.runtime.recover(uid, noSignal());
    expect(after).toMatchObject({ state: 'running', pid: state.pid });
    await suite.remove(uid);
  });

  test('a guest is not made over one of another incarnation, which goes on', async () => {
    const { spec, uid, state } = await suite.runSteadily();
    const other = { ...spec, incarnation: `${spec.incarnation}-other` };
    const create = suite.runtime.apply({ do: 'create', spec: other }, noSignal());
    await expect(create).rejects.toMatchObject({ code: 'guest_start_failed' });
    expect(await suite.runtime.recover(uid, noSignal())).toMatchObject({ state: 'running', pid: state.pid });
    await suite.remove(uid);
  });

  test('what is not there can be stopped, and what was never started too', async () => {
    const spec = await suite.make('steady');
    const stop = { do: 'stop', uid: spec.uid, graceMs: GRACE } as const;
    expect(await suite.runtime.apply(stop, noSignal())).toEqual({ state: 'absent' });
    await suite.runtime.apply({ do: 'create', spec }, noSignal());
    expect((await suite.runtime.apply(stop, noSignal())).state).not.toBe('running');
    await suite.remove(spec.uid);
  });

  test('an image that is not there, or of another kind, is refused by create and leaves nothing', async () => {
    const { otherKind } = suite.bed;
    if (otherKind === undefined) {
      // A kind without images makes its guests whatever image is named.
      const spec = { ...(await suite.make('steady')), imageDigest: 'none' };
      expect(await suite.runtime.apply({ do: 'create', spec }, noSignal())).toMatchObject({
        state: 'created',
      });
      await suite.remove(spec.uid);
      return;
    }
    const cases = [
      [`sha256:${'0'.repeat(64)}`, 'image_not_found'],
      [otherKind, 'image_wrong_kind'],
    ] as const;
    for (const [imageDigest, code] of cases) {
      const spec = { ...(await suite.make('steady')), imageDigest };
      const create = suite.runtime.apply({ do: 'create', spec }, noSignal());
      await expect(create).rejects.toMatchObject({ code });
      expect(await suite.runtime.recover(spec.uid, noSignal())).toEqual({ state: 'absent' });
      expect(await suite.runtime.list(noSignal())).not.toContain(spec.uid);
      expect(await suite.bed.leftovers(spec.uid)).toEqual([]);
    }
  });
}
