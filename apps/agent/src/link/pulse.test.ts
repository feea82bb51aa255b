// A session that nobody uses is kept alive, and one that is dead is found out.
import { ManualClock } from '@skerry/reconcile';
import { expect, test } from 'vitest';
import { PULSE_MS, Pulse } from './pulse.ts';

const HOUR_MS = 3_600_000;

function beat(answers: boolean) {
  const clock = new ManualClock();
  const seen = { pings: 0, deadMs: undefined as number | undefined };
  const pulse: Pulse = new Pulse({
    clock,
    ping() {
      seen.pings++;
      if (answers) clock.after(50, () => pulse.heard());
    },
    dead() {
      seen.deadMs = clock.monotonicMs();
    },
  });
  return { clock, pulse, seen };
}

test('a quiet session is pinged every fourteen seconds', async () => {
  const { clock, pulse, seen } = beat(true);
  await clock.advance(HOUR_MS);
  expect(seen.pings).toBeGreaterThan(250);
  expect(seen.pings).toBeLessThanOrEqual(HOUR_MS / PULSE_MS);
  expect(seen.deadMs).toBeUndefined();
  pulse.stop();
  expect(clock.waiting).toBe(0);
});

test('one over which both sides talk is not', async () => {
  const { clock, pulse, seen } = beat(true);
  for (let i = 0; i < 100; i++) {
    await clock.advance(5000);
    pulse.sent();
    pulse.heard();
  }
  expect(seen.pings).toBe(0);
});

test.each(['sent', 'heard'] as const)('one on which things are only %s is pinged', async (what) => {
  const { clock, pulse, seen } = beat(true);
  for (let i = 0; i < 100; i++) {
    await clock.advance(5000);
    pulse[what]();
  }
  expect(seen.pings).toBeGreaterThan(20);
  expect(seen.deadMs).toBeUndefined();
});

test('one on which nobody answers is found out, also while something is sent', async () => {
  for (const sends of [false, true]) {
    const { clock, pulse, seen } = beat(false);
    for (let i = 0; i < 30 && seen.deadMs === undefined; i++) {
      await clock.advance(2000);
      if (sends) pulse.sent();
    }
    expect(seen.deadMs).toBeGreaterThan(2 * PULSE_MS);
    expect(seen.deadMs).toBeLessThanOrEqual(3 * PULSE_MS + 100);
  }
});
