/** Part of the conformance suite: what guests wrote stays readable after their end; many at once do not disturb each other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogOptions } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { PreviousLogs } from '../previous-logs.ts';
import { GRACE, noSignal, type Running, type Suite, type Uid } from './suite.ts';

const AT_ONCE = 10;

export function logAndCrowdPromises(suite: Suite): void {
  const read = async (uid: Uid, options: LogOptions) => {
    const lines: string[] = [];
    const limit = AbortSignal.timeout(20_000);
    for await (const line of suite.runtime.logs(uid, options, limit)) lines.push(line.text);
    expect(limit.aborted).toBe(false); // it ended by itself
    return lines;
  };

  test('after its end a log is read whole, its last lines alone, and following it ends', async () => {
    const { lastWords } = suite.bed;
    const { uid } = await suite.run('fails');
    await eventually('it has ended', async () => {
      const { state } = await suite.runtime.recover(uid, noSignal());
      return state === 'exited';
    });
    const all = await eventually('the log has what was written last', async () => {
      const lines = await read(uid, {});
      return (lastWords === undefined || lines.some((line) => line.includes(lastWords))) && lines;
    });
    expect(await read(uid, { tail: 1 })).toEqual(all.slice(-1));
    expect(await read(uid, { tail: 0 })).toEqual([]);
    expect(await read(uid, { follow: true })).toEqual(all);
    expect(await read(uid, { sinceMs: Date.now() + 60_000 })).toEqual([]);
    await suite.remove(uid);
  });

  test('following the log of a guest that runs ends with the guest, and when it is cancelled', async () => {
    const { uid } = await suite.runSteadily();
    const cancel = new AbortController();
    const cancelled = (async () => {
      for await (const _ of suite.runtime.logs(uid, { follow: true }, cancel.signal));
    })();
    const toTheEnd = read(uid, { follow: true });
    cancel.abort();
    await cancelled;
    await suite.runtime.apply({ do: 'stop', uid, graceMs: GRACE }, noSignal());
    await toTheEnd;
    await suite.remove(uid);
  });

  test('what a run wrote can be put away, and outlives the guest that is made for the next', async () => {
    const { lastWords } = suite.bed;
    if (!suite.runtime.keepLog || lastWords === undefined) return; // nothing is printed that could be kept
    const dataDir = mkdtempSync(join(tmpdir(), 'skerry-kept-'));
    try {
      const { uid } = await suite.run('fails');
      await eventually('it has ended, and its log is whole', async () => {
        const { state } = await suite.runtime.recover(uid, noSignal());
        return state === 'exited' && (await read(uid, {})).some((line) => line.includes(lastWords));
      });
      const all = await read(uid, {});
      const logs = new PreviousLogs(dataDir);
      await logs.keep(suite.runtime, uid, 'this', noSignal());
      await suite.remove(uid);
      const kept: string[] = [];
      for await (const { text } of logs.read(uid, {}, noSignal())) kept.push(text);
      expect(kept).toEqual(all);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  test('the log of a guest that is not there is empty', async () => {
    const { uid } = await suite.make('steady');
    expect(await read(uid, {})).toEqual([]);
    await suite.remove(uid);
  });

  test(`${AT_ONCE} guests come and go at once`, async () => {
    const guests = await Promise.all(Array.from({ length: AT_ONCE }, () => suite.runSteadily()));
    const pids = new Set(guests.map(({ state }) => state.pid));
    expect(pids.size).toBe(AT_ONCE);
    const found = await Promise.all(guests.map(({ uid }) => suite.runtime.recover(uid, noSignal())));
    expect(new Set(found.map((state) => (state as Running).pid))).toEqual(pids);
    const stops = guests.map(({ uid }) =>
      suite.runtime.apply({ do: 'stop', uid, graceMs: GRACE }, noSignal()),
    );
    for (const state of await Promise.all(stops)) {
      expect(state).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
    }
    await Promise.all(guests.map(({ uid }) => suite.remove(uid)));
  });
}
