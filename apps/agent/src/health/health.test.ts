import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Id } from '@skerry/model';
import type { ExecPower, Runtime } from '@skerry/runtimes';
import { afterEach, describe, expect, it } from 'vitest';
import type { HealthTarget } from '../guests/resolve.ts';
import { Bench } from '../testing/bench.ts';
import { Life } from '../testing/life.ts';
import { type ProbeResult, probeGuest } from './probe.ts';

const uid = 'u' as Id<'instance'>;
const servers: Server[] = [];

async function serve(status: number | 'silent'): Promise<number> {
  const server = createServer((_request, response) => {
    if (status !== 'silent') response.writeHead(status).end('x');
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const runtimeWith = (exec?: ExecPower): Runtime => ({
  ...new Bench().world.runtime(new Life()),
  ...(exec && { exec }),
});

const look = (target: HealthTarget, runtime = runtimeWith()): Promise<ProbeResult> =>
  probeGuest({
    ...{ uid, target, runtime, address: '127.0.0.1', connectTimeoutMs: 500, timeoutMs: 200 },
    signal: new AbortController().signal,
  });

const execThat = (exit: Promise<number>, killed: () => void = () => undefined): ExecPower => ({
  exec: async () => ({
    output: (async function* () {})(),
    write: async () => undefined,
    closeInput: async () => undefined,
    resize: async () => undefined,
    exit,
    kill: async () => killed(),
  }),
});

describe('health probe', () => {
  it('takes an answer of 200 to 399 for a yes, and says what it got instead', async () => {
    const http = async (status: number | 'silent') =>
      look({ kind: 'http', port: await serve(status), path: '/healthz' });
    expect(await http(200)).toEqual({ ok: true });
    expect(await http(302)).toEqual({ ok: true });
    expect(await http(503)).toMatchObject({ ok: false, message: expect.stringContaining('answered 503') });
    expect(await http('silent')).toMatchObject({
      message: expect.stringContaining('no answer within 200 ms'),
    });
  });

  it('takes a connection for a yes where tcp is asked for', async () => {
    const port = await serve(200);
    expect(await look({ kind: 'tcp', port })).toEqual({ ok: true });
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
    expect(await look({ kind: 'tcp', port })).toMatchObject({
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('takes exit code 0 of a command for a yes, and ends a command that does not end', async () => {
    const exec = (power?: ExecPower) => look({ kind: 'exec', command: ['check'] }, runtimeWith(power));
    expect(await exec(execThat(Promise.resolve(0)))).toEqual({ ok: true });
    expect(await exec(execThat(Promise.resolve(4)))).toMatchObject({
      message: 'the command check ended with code 4',
    });
    let killed = false;
    const endless = execThat(new Promise(() => undefined), () => {
      killed = true;
    });
    expect(await exec(endless)).toMatchObject({
      message: expect.stringContaining('did not end within 200 ms'),
    });
    expect(killed).toBe(true);
    expect(await exec()).toMatchObject({ message: expect.stringContaining('can not run commands') });
  });
});

describe('health of a guest', () => {
  const health = { tcp: { port: 80 }, interval: '5s', failures: 3, startPeriod: '10s' };

  const benchWith = (
    answers: () => boolean,
    restart: 'always' | 'never' = 'always',
    word = () => 'refused',
  ) => {
    const bench = new Bench();
    const one = bench.controller.add('checked', { template: { health, restart } });
    const looks: number[] = [];
    const healthProbe = async (): Promise<ProbeResult> => {
      looks.push(bench.world.clock.monotonicMs());
      return answers() ? { ok: true } : { ok: false, message: word() };
    };
    bench.boot({ tuning: { healthProbe } });
    return { bench, uid: one, looks, healthProbe };
  };

  it('is ready with its first success, looks often until then and at the interval afterwards', async () => {
    let readyAtMs = 100;
    const { bench, uid, looks } = benchWith(() => bench.world.clock.monotonicMs() >= readyAtMs);
    await bench.until(() => bench.phase(uid) === 'starting', 'starting');
    await bench.until(() => bench.phase(uid) === 'running', 'ready');
    const { readyMs, health } = bench.controller.statuses.get(uid)!;
    expect(health).toBe('healthy');
    expect(readyMs).toBeGreaterThanOrEqual(100);
    expect(readyMs).toBeLessThan(120);
    readyAtMs = 0;
    const before = looks.length;
    await bench.world.clock.advance(60_000);
    expect(looks.length - before).toBe(12);
    expect(bench.controller.events.get(uid)).toEqual(['Started', 'Ready']);
  });

  it('says what a guest that is not ready is waited for with, and no more of it once it is', async () => {
    let word = 'refused';
    let ready = false;
    const { bench, uid } = benchWith(
      () => ready,
      'always',
      () => word,
    );
    const reason = () => bench.controller.statuses.get(uid)?.reason;
    await bench.until(() => bench.phase(uid) === 'starting', 'starting');
    await bench.world.clock.advance(4000);
    expect(reason()).toBeUndefined();
    await bench.until(() => reason() === 'not ready yet: refused', 'the reason', 2000);
    word = 'another';
    await bench.world.clock.advance(1000);
    expect(reason()).toBe('not ready yet: refused'); // told at twice the time
    await bench.until(() => reason() === 'not ready yet: another', 'the new reason', 8000);
    ready = true;
    await bench.until(() => bench.phase(uid) === 'running', 'ready');
    expect(reason()).toBeUndefined();
  });

  it('restarts a guest that fails three times in a row, with the reason', async () => {
    let well = true;
    const { bench, uid } = benchWith(() => well);
    await bench.until(() => bench.phase(uid) === 'running', 'ready');
    well = false;
    await bench.until(() => bench.world.starts.get(uid) === 2, 'started again', 16_000);
    const [last] = bench.controller.statuses.get(uid)!.exits;
    expect(last).toMatchObject({ reason: 'unhealthy' });
    expect(last!.message).toContain('failed 3 times in a row: refused');
    well = true;
    await bench.until(() => bench.phase(uid) === 'running', 'ready again');
  });

  it('gives up on a guest that never gets ready, after its start period', async () => {
    const { bench, uid } = benchWith(() => false, 'never');
    await bench.until(() => bench.phase(uid) === 'failed', 'failed');
    expect(bench.world.clock.monotonicMs()).toBeGreaterThan(10_000);
    expect(bench.controller.events.get(uid)).toContain('Unhealthy');
  });

  it('does not take a ready guest for unready when the agent restarts', async () => {
    const { bench, uid, healthProbe } = benchWith(() => true);
    await bench.until(() => bench.phase(uid) === 'running', 'ready');
    await bench.world.clock.advance(1000);
    bench.controller.statuses.clear();
    const phases = new Set<string>();
    bench.boot({ tuning: { healthProbe } });
    await bench.until(() => {
      const phase = bench.phase(uid);
      if (phase) phases.add(phase);
      return bench.agent!.instances()[0]?.status.health === 'healthy' && phases.size > 0;
    }, 'reported');
    expect([...phases]).toEqual(['running']);
  });
});
