// How long a node has been away: from when its agent was last heard, by a clock that nobody sets.
import type { Node } from '@skerry/model';
import { expect, test } from 'vitest';
import { createAbsences } from './absences.ts';

const node = (phase: Node['status']['phase']) => ({ status: { phase } }) as Node;

test('an absence counts from its beginning, whatever is said of it later, and is over when the agent is there', () => {
  let nowMs = 1000;
  const absences = createAbsences({ monotonicMs: () => nowMs });
  expect(absences.forMs('north')).toBe(0);
  absences.began('north');
  nowMs += 500;
  absences.began('north');
  expect([absences.forMs('north'), absences.awayMs(node('lost'), 'north')]).toEqual([500, 500]);
  expect(absences.awayMs(node('ready'), 'north')).toBeUndefined();
  expect(absences.awayMs(undefined, 'north')).toBe(Number.POSITIVE_INFINITY);
  absences.ended('north');
  expect(absences.forMs('north')).toBe(0);
});

test('an agent that fell silent has been away since it was last heard', () => {
  const absences = createAbsences({ monotonicMs: () => 90_000 });
  absences.silent('north', 30_000);
  absences.began('north');
  expect(absences.forMs('north')).toBe(30_000);
});
