// How much one turn of the event loop takes on, with turns and time in the test's hands.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTurns, type Lane } from './turns.ts';

function byHand() {
  let nowMs = 0;
  let callbacks: (() => void)[] = [];
  const turns = createTurns({ nowMs: () => nowMs, nextTurn: (callback) => void callbacks.push(callback) });
  return {
    turns,
    /** False where nothing asked for another turn. */
    turn(tookMs: number): boolean {
      nowMs += tookMs;
      const due = callbacks;
      callbacks = [];
      for (const callback of due) callback();
      return due.length > 0;
    },
  };
}
const LANES: readonly Lane[] = ['requests', 'sessions', 'upkeep'];

test('all that is asked for is done once, in the order of its lane, however long turns take', () => {
  const asked = fc.record({ lane: fc.constantFrom(...LANES), turnMs: fc.integer({ min: 0, max: 100 }) });
  fc.assert(
    fc.property(fc.array(asked, { maxLength: 400 }), fc.integer({ min: 1, max: 200 }), (all, burst) => {
      const { turns, turn } = byHand();
      const done: { lane: Lane; at: number }[] = [];
      all.forEach(({ lane, turnMs }, at) => {
        turns.do(lane, () => done.push({ lane, at }));
        if (at % burst === 0) turn(turnMs);
      });
      let left = 1000;
      while (turn(all[left % Math.max(1, all.length)]?.turnMs ?? 0) && left-- > 0);
      expect(left, 'no turn is asked for when nothing is left').toBeGreaterThan(0);
      expect(done.length).toBe(all.length);
      for (const lane of LANES) {
        const own = done.filter((one) => one.lane === lane).map(({ at }) => at);
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
    }),
  );
});

test('with nothing waiting, work begins at once; a turn takes on fewer where turns take long, more where they do not', () => {
  const { turns, turn } = byHand();
  let done = 0;
  const inTurn = (tookMs: number) => {
    const before = done;
    turn(tookMs);
    return done - before;
  };
  turns.do('sessions', () => done++);
  expect(done).toBe(1);
  for (let i = 0; i < 5000; i++) turns.do('sessions', () => done++);
  expect(done).toBeLessThan(100);
  const slow = Array.from({ length: 20 }, () => inTurn(50));
  const quick = Array.from({ length: 40 }, () => inTurn(1));
  expect(slow.at(-1)).toBeGreaterThan(0);
  expect(slow.at(-1)).toBeLessThan(10);
  expect(quick.at(-1)).toBeGreaterThan(30);
});

test('a user is not behind thousands of agents', () => {
  const { turns, turn } = byHand();
  let isAnswered = false;
  for (let i = 0; i < 5000; i++) turns.do('sessions', () => undefined);
  turns.do('requests', () => {
    isAnswered = true;
  });
  turn(1);
  expect(isAnswered).toBe(true);
});

test('what fails, fails for who asked', async () => {
  const turns = createTurns();
  const fail = () => {
    throw new Error('no');
  };
  await expect(turns.run('upkeep', fail)).rejects.toThrow('no');
  await expect(turns.run('upkeep', async () => fail())).rejects.toThrow('no');
  expect(await turns.run('upkeep', async () => 7)).toBe(7);
});
