import type { AgentEvent, ControllerLink, InstanceReport } from '@skerry/contract';
import type { Id } from '@skerry/model';
import { ManualClock } from '@skerry/reconcile';
import { describe, expect, it } from 'vitest';
import { newRecord } from '../ledger/record.ts';
import { Reporter } from './reporter.ts';
import { statusOf } from './status.ts';

const uid = (name: string) => name as Id<'instance'>;
const turn = () => new Promise((resolve) => setImmediate(resolve));

function reporterWith(report: ControllerLink['report']) {
  const clock = new ManualClock();
  const phases = new Map<string, 'starting' | 'running'>();
  const events = new Map<string, AgentEvent[]>();
  const reporter = new Reporter({
    node: 'node',
    clock,
    generation: () => 7,
    present: (one) => {
      const record = newRecord({ uid: one, name: one, project: 'p', runtime: 'container' });
      const status = statusOf({ ...record, phase: phases.get(one) ?? 'starting' }, undefined);
      return { uid: one, state: 'present', status, events: events.get(one) ?? [] };
    },
    acknowledged: (one, told) =>
      events.set(
        one,
        (events.get(one) ?? []).filter((event) => !told.includes(event)),
      ),
  });
  const link: ControllerLink = {
    register: async () => undefined,
    desired: async function* () {},
    report,
    lease: async () => [],
    measure: async () => undefined,
    sighted: async () => undefined,
  };
  return { reporter, link, clock, phases, events };
}

describe('reporter', () => {
  it('tells everything anew over a new link: the controller may have taken it for lost', async () => {
    const told: string[][] = [];
    const { reporter, link, phases } = reporterWith(async (_node, { instances }) => {
      told.push(
        instances.map((one) => `${one.uid} ${one.state === 'present' ? one.status.phase : 'absent'}`),
      );
    });
    for (const name of ['a', 'b', 'c']) reporter.present(uid(name));
    reporter.attach(link, () => undefined);
    await turn();
    reporter.absent(uid('c'));
    await turn();
    reporter.detach();
    phases.set('b', 'running');
    reporter.attach(link, () => undefined);
    await turn();
    expect(told).toEqual([
      ['a starting', 'b starting', 'c starting'],
      ['c absent'],
      ['a starting', 'b running'],
    ]);
  });

  it('tells again what was not acknowledged, absences and events too', async () => {
    const told: (readonly InstanceReport[])[] = [];
    let broken = true;
    const { reporter, link, events } = reporterWith(async (_node, { instances }) => {
      if (broken) throw new Error('no answer');
      told.push(instances);
    });
    events.set('a', [{ atMs: 1, type: 'normal', reason: 'Started', message: 'started' }]);
    const errors: unknown[] = [];
    reporter.present(uid('a'));
    reporter.absent(uid('b'));
    reporter.attach(link, (error) => errors.push(error));
    await turn();
    expect(errors).toHaveLength(1);
    expect(events.get('a')).toHaveLength(1);
    broken = false;
    reporter.attach(link, (error) => errors.push(error));
    await turn();
    expect(told).toHaveLength(1);
    expect(told[0]!.map(({ uid, state }) => `${uid} ${state}`)).toEqual(['a present', 'b absent']);
    expect(events.get('a')).toEqual([]);
    expect(reporter.due).toBe(false);
  });

  it('makes one report of what an instance passes through within a moment, and does not repeat what is known', async () => {
    const phases: string[] = [];
    const { reporter, link, clock, ...world } = reporterWith(async (_node, { instances }) => {
      for (const one of instances) if (one.state === 'present') phases.push(one.status.phase);
    });
    reporter.attach(link, () => undefined);
    reporter.present(uid('a'), true);
    await turn();
    expect(phases).toEqual([]);
    world.phases.set('a', 'running');
    reporter.present(uid('a'));
    await turn();
    expect(phases).toEqual(['running']);
    reporter.present(uid('a'));
    await turn();
    expect(phases).toEqual(['running']);
    world.phases.set('a', 'starting');
    reporter.present(uid('a'), true);
    await clock.advance(30);
    expect(phases).toEqual(['running', 'starting']);
    expect(clock.waiting).toBe(0);
  });
});
