// Somebody sets the machine's time while guests run and pauses wait.
import { describe, expect, it } from 'vitest';
import { Bench } from './testing/bench.ts';

const HOUR_MS = 3_600_000;
const JUMPS = [6 * HOUR_MS, -6 * HOUR_MS];

const crashed = async (tuning: Parameters<Bench['boot']>[0] = {}) => {
  const bench = new Bench();
  const uid = bench.controller.add('loop');
  bench.boot(tuning);
  await bench.until(() => bench.phase(uid) === 'running', 'runs');
  return { bench, uid, starts: () => bench.world.starts.get(uid) ?? 0 };
};

describe.each(JUMPS)('a clock that jumps by %d ms', (jumpMs) => {
  it('neither cuts the pause before the next try short nor draws it out', async () => {
    const { bench, uid, starts } = await crashed();
    bench.world.crashing.set(uid, 'error');
    bench.world.exit(uid, 'error');
    await bench.until(() => starts() >= 8, 'eight starts: the pause is long by now', 600_000);
    await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
    const before = starts();
    const atMs = bench.world.clock.monotonicMs();
    bench.world.clock.jump(jumpMs);
    await bench.until(() => starts() > before, 'the next start');
    const pausedMs = bench.world.clock.monotonicMs() - atMs;
    expect(pausedMs).toBeGreaterThan(16_000);
    expect(pausedMs).toBeLessThanOrEqual(60_000);
  });

  it('and an agent that is started after it waits no longer than the longest pause', async () => {
    const { bench, uid, starts } = await crashed();
    bench.world.exit(uid, 'error');
    await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
    bench.life.kill();
    bench.world.clock.jump(jumpMs);
    const atMs = bench.world.clock.monotonicMs();
    bench.boot();
    await bench.until(() => starts() === 2, 'started again');
    expect(bench.world.clock.monotonicMs() - atMs).toBeLessThanOrEqual(60_000);
  });

  it('judges an end from before it once', async () => {
    const { bench, uid } = await crashed({ connected: true });
    bench.world.exit(uid, 'error', 'ended with code 3');
    bench.world.clock.jump(jumpMs);
    await bench.until(
      () => bench.phase(uid) === 'running' && bench.world.starts.get(uid) === 2,
      'runs again',
    );
    const status = bench.controller.statuses.get(uid)!;
    expect(status.exits).toHaveLength(1);
    expect(status.restartCount).toBe(1);
  });

  it('does not take a short run for a long one: the next pause is longer than the last', async () => {
    const { bench, uid } = await crashed();
    for (const pause of ['250ms', '500ms', '1s']) {
      bench.world.clock.jump(jumpMs);
      bench.world.exit(uid, 'error', 'ended with code 3');
      await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
      expect(bench.controller.statuses.get(uid)!.reason).toContain(`next try in ${pause}`);
      await bench.until(() => bench.phase(uid) === 'running', 'runs again');
    }
  });

  it('leaves healthy guests as they are, and their checks at their pace', async () => {
    let checks = 0;
    const healthProbe = async () => {
      checks++;
      return { ok: true } as const;
    };
    const bench = new Bench();
    const health = { tcp: { port: 80 }, interval: '5s' };
    const uid = bench.controller.add('checked', { template: { health } as never });
    bench.boot({ tuning: { healthProbe } });
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    const { pid } = bench.world.running(uid)!;
    checks = 0;
    bench.world.clock.jump(jumpMs);
    await bench.world.clock.advance(60_000);
    expect(checks).toBeGreaterThanOrEqual(10);
    expect(checks).toBeLessThanOrEqual(13);
    expect(bench.world.running(uid)!.pid).toBe(pid);
    expect(bench.world.starts.get(uid)).toBe(1);
  });
});
