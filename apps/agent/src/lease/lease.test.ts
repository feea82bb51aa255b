// What may run once only: on this node, it runs while its lease is held, and not a moment longer.
import type { LeaseRequest } from '@skerry/contract';
import type { Id } from '@skerry/model';
import { describe, expect, it } from 'vitest';
import { Bench, turns } from '../testing/bench.ts';

const FOR_MS = 20_000;
const HOUR_MS = 3_600_000;

async function held(options: { connected?: boolean; stopGrace?: string } = {}) {
  const bench = new Bench();
  const asked: LeaseRequest[] = [];
  const grant = (request: LeaseRequest) => {
    asked.push(request);
    return request.leases.map(({ uid }) => ({ uid, forMs: FOR_MS }));
  };
  bench.controller.leases = grant;
  const uid = bench.controller.add('one', {
    lease: { epoch: 3, forMs: FOR_MS },
    template: { stopGrace: options.stopGrace ?? '2s' },
  });
  const other = bench.controller.add('any');
  bench.boot();
  const runs = (one: Id<'instance'> = uid) => bench.world.running(one) !== undefined;
  await bench.until(() => runs() && runs(other), 'both run');
  return { bench, uid, other, asked, grant, runs };
}

describe('a guest with a lease', () => {
  it('is not started before it has one, and says what it waits for; others are', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('one', { lease: { epoch: 1, forMs: FOR_MS } });
    const other = bench.controller.add('any');
    bench.boot();
    await bench.until(() => bench.world.running(other) !== undefined, 'the other one runs');
    await bench.until(() => bench.controller.statuses.get(uid)?.reason !== undefined, 'it says why');
    expect(bench.world.guests.get(uid)).toBeUndefined();
    expect(bench.controller.statuses.get(uid)).toMatchObject({
      phase: 'scheduled',
      reason: expect.stringContaining('waits for its lease'),
    });
    bench.controller.leases = ({ leases }) => leases.map((one) => ({ uid: one.uid, forMs: FOR_MS }));
    await bench.until(() => bench.phase(uid) === 'running', 'it runs');
  });

  it('runs on for as long as it is renewed, and costs a request each quarter of its time', async () => {
    const { bench, uid, asked } = await held();
    const before = asked.length;
    await bench.world.clock.advance(10 * 60_000);
    await turns(20);
    expect(bench.world.starts.get(uid)).toBe(1);
    expect(asked.length - before).toBeGreaterThanOrEqual(115);
    expect(asked.length - before).toBeLessThanOrEqual(125);
    expect(asked.at(-1)!.leases).toEqual([{ uid, epoch: 3, holds: true }]);
  });

  it('is ended in time when the controller is out of reach, started again when it is back; others do not notice', async () => {
    const { bench, uid, other, runs } = await held();
    const renewedMs = bench.world.leases.get(uid)!.untilMs;
    bench.controller.cutOff();
    await bench.until(() => !runs(), 'it is ended');
    const endedMs = bench.world.clock.monotonicMs();
    expect(endedMs).toBeLessThanOrEqual(bench.world.leases.get(uid)!.untilMs);
    expect(endedMs).toBeGreaterThan(renewedMs - 3000);
    expect(bench.world.attachments.has(uid)).toBe(false);
    await bench.world.clock.advance(HOUR_MS);
    expect([runs(), runs(other)]).toEqual([false, true]);
    expect(bench.agent!.instances().find((one) => one.uid === uid)!.status).toMatchObject({
      phase: 'stopped',
      reason: expect.stringContaining('lease is over'),
    });
    bench.controller.reachable = true;
    await bench.until(() => bench.phase(uid) === 'running', 'it runs again');
    expect(bench.world.starts.get(uid)).toBe(2);
    expect(bench.world.starts.get(other)).toBe(1);
    expect(bench.world.violations).toEqual([]);
  });

  it('is ended when the controller gives its lease to nobody any more', async () => {
    const { bench, runs } = await held();
    bench.controller.leases = () => [];
    await bench.until(() => !runs(), 'it is ended', FOR_MS);
  });

  it('is ended though its agent is dead', async () => {
    const { bench, uid, other, runs } = await held();
    bench.life.kill();
    const { untilMs } = bench.world.leases.get(uid)!;
    await bench.world.clock.advance(untilMs - bench.world.clock.monotonicMs() + 1);
    expect([runs(), runs(other)]).toEqual([false, true]);
    bench.controller.cutOff();
    bench.boot();
    await bench.world.clock.advance(HOUR_MS);
    expect([runs(), runs(other)]).toEqual([false, true]);
  });

  it('goes on where its agent is back in time, also without a controller, and then for the rest of its time', async () => {
    const { bench, uid, runs } = await held();
    bench.life.kill();
    bench.controller.cutOff();
    await bench.world.clock.advance(5000);
    const { pid } = bench.world.running(uid)!;
    bench.boot();
    await turns(40);
    expect(bench.world.running(uid)!.pid).toBe(pid);
    await bench.until(() => !runs(), 'it is ended', FOR_MS);
  });

  it('does not start by itself after a power cut without a controller; others do', async () => {
    const { bench, uid, other, runs } = await held();
    bench.life.kill();
    bench.world.powerCut();
    bench.controller.cutOff();
    bench.boot();
    await bench.until(() => runs(other), 'the other one runs again');
    await bench.world.clock.advance(HOUR_MS);
    expect(runs()).toBe(false);
    bench.controller.reachable = true;
    await bench.until(() => runs(), 'it runs again');
    expect(bench.world.starts.get(uid)).toBe(2);
  });

  it.each([HOUR_MS, -HOUR_MS])('does not care for a clock that is set by %d ms', async (ms) => {
    const { bench, uid, runs } = await held();
    bench.world.clock.jump(ms);
    await bench.world.clock.advance(60_000);
    expect(bench.world.starts.get(uid)).toBe(1);
    bench.controller.cutOff();
    bench.world.clock.jump(ms);
    const { untilMs } = bench.world.leases.get(uid)!;
    await bench.until(() => !runs(), 'it is ended', FOR_MS);
    expect(bench.world.clock.monotonicMs()).toBeLessThanOrEqual(untilMs);
  });

  it('has no time left over from before its machine was suspended', async () => {
    const { bench, runs } = await held();
    bench.controller.cutOff();
    bench.world.suspend(HOUR_MS);
    expect(runs()).toBe(false);
    await bench.world.clock.advance(60_000);
    expect(runs()).toBe(false);
  });

  it('that does not heed its end is ended by force before its time is over', async () => {
    const { bench, uid, runs } = await held({ stopGrace: '1h' });
    bench.world.stubborn.add(uid);
    bench.controller.cutOff();
    await bench.until(() => !runs(), 'it is ended', FOR_MS);
    expect(bench.world.stops.get(uid)).toBe(1);
  });

  it('has its lease taken out of the run folder when it is deleted', async () => {
    const { bench, uid } = await held();
    bench.controller.delete(uid);
    await bench.until(() => bench.agent!.instances().length === 1, 'it is gone');
    await turns(20);
    expect([...bench.world.leases.keys()]).toEqual([]);
  });
});
