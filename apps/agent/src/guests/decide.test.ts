import type { GuestExit, Id } from '@skerry/model';
import type { GuestState } from '@skerry/runtimes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type InstanceRecord, newRecord } from '../ledger/record.ts';
import { decide, type Situation, type Want } from './decide.ts';

const uid = 'u' as Id<'instance'>;
const want: Want = { run: 'running', runtime: 'container', incarnation: 'a', restarts: 0, attachKey: '' };
const running: GuestState = { state: 'running', incarnation: 'a', pid: 1, startedAtMs: 0 };
const exitAt = (atMs: number): GuestExit => ({ reason: 'error', message: 'ended', atMs });
const exited = (atMs: number): GuestState => ({ state: 'exited', incarnation: 'a', exit: exitAt(atMs) });
const absent: GuestState = { state: 'absent' };

const situation = (
  change: Partial<Omit<Situation, 'record'>> & { record?: Partial<InstanceRecord> },
): Situation => ({
  ...{
    want,
    have: absent,
    attachedKey: '',
    heardExit: undefined,
    unhealthy: undefined,
    hold: false,
    nowMs: 10_000,
    pauseLeftMs: 0,
  },
  ...change,
  record: { ...newRecord({ uid, name: 'n', project: 'p', runtime: 'container' }), ...change.record },
});

describe('decide', () => {
  it('judges an end once: at once for a guest that was up, and by its time for one that ended unseen', () => {
    const judged = {
      life: 'down',
      judgedAtMs: 5000,
      incarnation: 'a',
      verdict: 'rest',
      phase: 'stopped',
    } as const;
    expect(decide(situation({ have: exited(4000), record: { life: 'up' } })).do).toBe('judge');
    expect(decide(situation({ have: exited(4990), record: judged })).do).toBe('none');
    expect(decide(situation({ have: exited(5040), record: judged })).do).toBe('none');
    expect(decide(situation({ have: exited(6000), record: judged })).do).toBe('judge');
    expect(decide(situation({ have: exited(6000), record: { ...judged, life: 'starting' } })).do).toBe(
      'judge',
    );
  });

  it('calls a guest that was up and is not there vanished, unless its runtime has told how it ended', () => {
    const record = { life: 'up', incarnation: 'a', phase: 'running' } as const;
    expect(decide(situation({ record }))).toMatchObject({ do: 'judge', exit: { reason: 'vanished' } });
    expect(decide(situation({ record, heardExit: exitAt(1) }))).toMatchObject({ exit: { reason: 'error' } });
    expect(decide(situation({ record: { ...record, life: 'starting' } })).do).toBe('start');
  });

  it('waits for the next try, and starts when it is due or the spec has changed', () => {
    const record = { life: 'down', incarnation: 'a', phase: 'backoff' } as const;
    expect(decide(situation({ record, pauseLeftMs: 400 }))).toEqual({ do: 'wait', delayMs: 400 });
    expect(decide(situation({ record })).do).toBe('start');
    expect(decide(situation({ record: { ...record, incarnation: 'old' }, pauseLeftMs: 400 })).do).toBe(
      'start',
    );
  });

  it('tells a requested restart from a changed spec', () => {
    const record = { life: 'up', incarnation: 'old', restartsSeen: 1, phase: 'running' } as const;
    const asked = { ...want, restarts: 2 };
    expect(decide(situation({ have: running, record, want: asked }))).toMatchObject({ reason: 'requested' });
    expect(decide(situation({ have: running, record, want: { ...want, restarts: 1 } }))).toMatchObject({
      reason: 'replaced',
    });
  });

  it('takes the guest of another runtime away before the new one starts', () => {
    const record = { life: 'down', incarnation: 'a', phase: 'stopping', judgedAtMs: 9000 } as const;
    const other = { ...want, runtime: 'unikernel', incarnation: 'b' } as const;
    expect(decide(situation({ have: exited(8000), record, want: other })).do).toBe('clear');
    expect(decide(situation({ record, want: other })).do).toBe('start');
  });

  it('never touches what runs while it holds, and never what runs as wanted', () => {
    const life = fc.constantFrom<InstanceRecord['life'][]>('none', 'starting', 'up', 'down');
    const arbitrary = fc.record({ life, hold: fc.boolean(), wanted: fc.boolean(), stale: fc.boolean() });
    fc.assert(
      fc.property(arbitrary, ({ life, hold, wanted, stale }) => {
        const record = { life, incarnation: stale ? 'old' : 'a', phase: 'running' } as const;
        const next = decide(situation({ have: running, record, hold, want: wanted ? want : undefined })).do;
        if (life !== 'up') return next === 'adopt';
        if (hold || (wanted && !stale)) return next === 'none';
        return next === (wanted ? 'end' : 'delete');
      }),
    );
  });
});
