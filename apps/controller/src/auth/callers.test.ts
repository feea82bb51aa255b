// Who guesses is not heard for a minute: neither for less nor, where the clock is set, for hours.
import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { createCallers } from './callers.ts';

const HOUR_MS = 3_600_000;

test.each([6 * HOUR_MS, -6 * HOUR_MS])('a clock that jumps by %d ms does not lock anybody out', (jumpMs) => {
  let nowMs = Date.UTC(2026, 0, 1);
  const callers = createCallers({
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: () => () => undefined,
  });
  callers.setToken('right');
  const asks = (token: string) => () =>
    callers.admit({
      socket: { remoteAddress: '10.1.2.3' },
      headers: { authorization: `Bearer ${token}` },
    } as IncomingMessage);
  for (let i = 0; i < 10; i++) expect(asks('wrong')).toThrow(/no token/);
  expect(asks('right')).toThrow(/wait 60 s/);
  nowMs += jumpMs;
  expect(asks('right')).not.toThrow();
  for (let i = 0; i < 10; i++) expect(asks('wrong')).toThrow(/no token/);
  expect(asks('right')).toThrow(/wait 60 s/);
  nowMs += 60_001;
  expect(asks('right')).not.toThrow();
});
