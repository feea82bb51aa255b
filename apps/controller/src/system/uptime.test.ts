// What `skerry status` tells of time.
import { expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { startHarness } from '../testing/harness.ts';

const HOUR_MS = 3_600_000;

test('how long the program runs does not depend on the time that somebody sets', async () => {
  let wallMs = Date.now();
  let passedMs = 500;
  const harness = await startHarness({
    node: false,
    clock: { ...systemClock, nowMs: () => wallMs, monotonicMs: () => passedMs },
  });
  try {
    const { startedAt } = await harness.client.status();
    for (const jumpMs of [-6 * HOUR_MS, 12 * HOUR_MS]) {
      wallMs += jumpMs;
      passedMs += 4000;
      expect(await harness.client.status()).toMatchObject({ startedAt, uptimeMs: passedMs - 500 });
    }
  } finally {
    await harness.close();
  }
});
