import { describe, expect, it } from 'vitest';
import { Bench, turns } from './testing/bench.ts';

const runningBench = async (count = 1) => {
  const bench = new Bench();
  const uids = Array.from({ length: count }, (_, i) => bench.controller.add(`hello-${i}`));
  bench.boot();
  await bench.until(() => uids.every((uid) => bench.phase(uid) === 'running'), 'all run');
  await bench.rest();
  return { bench, uids, uid: uids[0]! };
};

describe('agent', () => {
  it('starts what is desired and reports it with its times', async () => {
    const { bench, uid } = await runningBench();
    const status = bench.controller.statuses.get(uid)!;
    expect(status).toMatchObject({
      phase: 'running',
      observedGeneration: 1,
      restartCount: 0,
      address: '10.99.0.2',
    });
    expect(status.pid).toBe(bench.world.running(uid)!.pid);
    expect(status.startMs).toBeGreaterThanOrEqual(0);
    expect(bench.controller.events.get(uid)).toEqual(['Started']);
    expect(bench.controller.registered?.overheadBytes).toEqual({ container: 1_000_000 });
  });

  it('leaves running guests alone when it stops, and takes them over when it starts', async () => {
    const { bench, uid } = await runningBench();
    const { pid } = bench.world.running(uid)!;
    await bench.agent!.stop();
    expect(bench.world.running(uid)!.pid).toBe(pid);
    bench.boot();
    bench.controller.statuses.clear();
    await bench.until(() => bench.phase(uid) === 'running', 'reported again');
    expect(bench.world.running(uid)!.pid).toBe(pid);
    expect(bench.world.starts.get(uid)).toBe(1);
  });

  it('brings all back after a power cut, with no controller in reach', async () => {
    const { bench, uids } = await runningBench(10);
    bench.life.kill();
    bench.world.powerCut();
    bench.boot({ connected: false });
    await bench.until(() => uids.every((uid) => bench.world.running(uid)), 'all are back', 10_000);
    expect(bench.world.violations).toEqual([]);
    const [first] = bench.agent!.instances();
    expect(first!.status.exits[0]!.reason).toBe('vanished');
  });

  it('restarts a guest that crashes after 250 ms, 500 ms, 1 s and shows why and when', async () => {
    const { bench, uid } = await runningBench();
    const starts: number[] = [];
    bench.world.exit(uid, 'error', 'ended with code 3');
    for (let i = 1; i <= 3; i++) {
      await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
      const endedMs = bench.world.clock.nowMs();
      expect(bench.controller.statuses.get(uid)!.reason).toContain('ended with code 3; next try in');
      await bench.until(() => bench.phase(uid) === 'running', 'started again');
      starts.push(bench.world.clock.nowMs() - endedMs);
      bench.world.exit(uid, 'error', 'ended with code 3');
    }
    expect(starts).toEqual([250, 500, 1000]);
    await bench.until(() => bench.controller.statuses.get(uid)!.exits.length === 4, 'four ends are known');
    expect(bench.controller.statuses.get(uid)!.restartCount).toBe(4);
    expect(bench.controller.events.get(uid)).toContain('Restarted');
  });

  it('keeps a crash loop in backoff at most a minute apart, and remembers ten ends', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('loop');
    bench.world.crashing.set(uid, 'error');
    bench.boot();
    await bench.until(() => (bench.world.starts.get(uid) ?? 0) >= 14, 'fourteen starts', 20 * 60_000);
    await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
    expect(bench.controller.statuses.get(uid)!.exits).toHaveLength(10);
    const before = bench.world.starts.get(uid)!;
    await bench.world.clock.advance(60_000);
    expect(bench.world.starts.get(uid)! - before).toBeLessThanOrEqual(2);
  });

  it('lets a guest rest that is done, and starts it again when it is stopped and started', async () => {
    const { bench, uid } = await runningBench();
    bench.controller.change(uid, { template: { restart: 'on-failure' } });
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 2, 'policy seen');
    bench.world.exit(uid, 'completed', 'ended with code 0');
    await bench.until(() => bench.phase(uid) === 'stopped', 'rests');
    expect(bench.world.attachments.has(uid)).toBe(false);
    await bench.world.clock.advance(120_000);
    expect(bench.world.starts.get(uid)).toBe(1);
    bench.controller.change(uid, { run: 'stopped' });
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 3, 'stop seen');
    bench.controller.change(uid, { run: 'running' });
    await bench.until(() => bench.phase(uid) === 'running', 'runs again');
  });

  it('fails a guest that is not to be restarted, with the reason', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('once', { template: { restart: 'never' } });
    bench.boot();
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    bench.world.exit(uid, 'oom', 'used more than its 32MiB of memory');
    await bench.until(() => bench.phase(uid) === 'failed', 'failed');
    expect(bench.controller.statuses.get(uid)).toMatchObject({
      reason: 'used more than its 32MiB of memory',
    });
    expect(bench.controller.events.get(uid)).toContain('OutOfMemory');
  });

  it('stops gracefully, says when it had to force, and starts again', async () => {
    const { bench, uids } = await runningBench(2);
    const [gentle, stubborn] = uids as [(typeof uids)[0], (typeof uids)[0]];
    bench.world.stubborn.add(stubborn);
    for (const uid of uids) bench.controller.change(uid, { run: 'stopped' });
    await bench.until(() => uids.every((uid) => bench.phase(uid) === 'stopped'), 'stopped');
    expect(bench.controller.statuses.get(gentle)!.exits[0]!.reason).toBe('stopped');
    expect(bench.controller.statuses.get(stubborn)!.exits[0]!.reason).toBe('killed');
    expect(bench.controller.statuses.get(stubborn)!.exits[0]!.message).toContain('forced');
    expect(bench.world.attachments.size).toBe(0);
    for (const uid of uids) bench.controller.change(uid, { run: 'running' });
    await bench.until(() => uids.every((uid) => bench.phase(uid) === 'running'), 'run again');
  });

  it('restarts on request and replaces on a changed spec, each with its reason', async () => {
    const { bench, uid } = await runningBench();
    const first = bench.world.running(uid)!.pid;
    bench.controller.restart(uid);
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 2, 'restart seen');
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    const second = bench.world.running(uid)!.pid;
    expect(second).not.toBe(first);
    bench.controller.change(uid, { template: { env: { A: '1' } } });
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 3, 'change seen');
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    expect(bench.world.running(uid)!.pid).not.toBe(second);
    const { exits, restartCount } = bench.controller.statuses.get(uid)!;
    expect(exits.map(({ reason }) => reason)).toEqual(['replaced', 'requested']);
    expect(restartCount).toBe(1);
  });

  it('changes a published port without touching the guest', async () => {
    const { bench, uid } = await runningBench();
    const { pid } = bench.world.running(uid)!;
    const ports = [{ name: 'http', port: 80 }];
    bench.controller.change(uid, { template: { ports } });
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 2, 'ports seen');
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    const { pid: withPorts } = bench.world.running(uid)!;
    expect(withPorts).not.toBe(pid);
    bench.controller.change(uid, { template: { ports: [{ name: 'http', port: 80, publish: 18_080 }] } });
    await bench.until(() => bench.controller.statuses.get(uid)!.observedGeneration === 3, 'publish seen');
    expect(bench.world.attachments.get(uid)!.ports[0]!.publish).toBe(18_080);
    expect(bench.world.running(uid)!.pid).toBe(withPorts);
  });

  it('deletes without a trace and reports absence until the controller forgets', async () => {
    const { bench, uids } = await runningBench(3);
    for (const uid of uids) bench.controller.delete(uid);
    await bench.until(() => bench.controller.instances.size === 0, 'all forgotten');
    expect(bench.world.guests.size + bench.world.attachments.size).toBe(0);
    expect((await bench.world.store.list('/ledger/record/')).entries).toEqual([]);
    await bench.until(() => bench.agent!.instances().length === 0, 'no instance known');
  });

  it('gives a slot to another guest whose owner is gone, though its last settled state still names that', async () => {
    const { bench, uid } = await runningBench();
    const stuck = bench.controller.add('stuck');
    bench.world.hanging.add(stuck); // from here on nothing settles
    bench.controller.delete(uid);
    await bench.until(() => !bench.controller.instances.has(uid), 'the first is gone');
    await turns(40);
    bench.life.kill();
    const next = bench.controller.add('next');
    bench.boot();
    await bench.until(() => bench.phase(next) === 'running', 'the next runs');
    expect(bench.controller.statuses.get(next)!.exits).toEqual([]);
  });

  it('removes guests that its ledger does not know', async () => {
    const { bench, uid } = await runningBench();
    const orphan = new Bench().controller.add('orphan');
    bench.life.kill();
    const { spec } = bench.world.guests.get(uid)!;
    const state = { state: 'running', incarnation: 'x', pid: 1, startedAtMs: 0 } as const;
    bench.world.guests.set(orphan, { spec: { ...spec, uid: orphan }, state });
    bench.boot();
    await bench.until(() => !bench.world.guests.has(orphan), 'the orphan is gone');
    expect(bench.world.running(uid)).toBeDefined();
  });

  it('says why a guest can not start, takes back what was done for it, and starts it once the cause is gone', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('nobody', { imageDigest: 'sha256:missing' });
    bench.boot();
    await bench.until(() => bench.phase(uid) === 'backoff', 'backoff');
    expect(bench.controller.statuses.get(uid)!.reason).toContain('no image sha256:missing');
    expect(bench.world.attachments.size + bench.world.guests.size).toBe(0);
    bench.world.images.add('sha256:missing');
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    expect(bench.controller.statuses.get(uid)!.reason).toBeUndefined();
  });

  it('outlives an engine that fails: instances show why, and go on when it is back', async () => {
    const { bench, uid } = await runningBench();
    const { pid } = bench.world.running(uid)!;
    bench.world.breakEngine('containerd was killed');
    const late = bench.controller.add('late');
    await bench.until(() => bench.controller.statuses.get(late)?.reason !== undefined, 'the reason is shown');
    expect(bench.controller.statuses.get(late)!.reason).toContain('containerd was killed');
    expect(bench.world.running(uid)!.pid).toBe(pid);
    bench.world.engineDown = undefined;
    await bench.until(() => bench.phase(late) === 'running', 'the late one runs');
    await bench.until(() => bench.controller.statuses.get(uid)!.reason === undefined, 'the reason is gone');
    expect(bench.world.running(uid)!.pid).toBe(pid);
  });

  it('waits with new guests for a network that does not come up, and leaves those alone that run', async () => {
    const { bench, uid } = await runningBench();
    const { pid } = bench.world.running(uid)!;
    bench.world.networkDown = 'nft failed';
    bench.boot();
    const late = bench.controller.add('late');
    await bench.until(() => bench.controller.statuses.get(late)?.reason !== undefined, 'the reason is shown');
    expect(bench.controller.statuses.get(late)!.reason).toContain('nft failed');
    expect(bench.world.guests.has(late)).toBe(false);
    bench.world.networkDown = undefined;
    await bench.until(() => bench.phase(late) === 'running', 'the late one runs');
    expect(bench.world.running(uid)!.pid).toBe(pid);
  });

  it('makes no more guests at once than it may, and cuts a start short that is no longer wanted', async () => {
    const bench = new Bench();
    const uids = Array.from({ length: 20 }, (_, i) => bench.controller.add(`slow-${i}`));
    for (const uid of uids) bench.world.hanging.add(uid);
    bench.boot({ tuning: { concurrentStarts: 3 } });
    await bench.until(() => bench.world.hangingNow === 3, 'three hang');
    for (const uid of uids) bench.controller.delete(uid);
    await bench.until(() => bench.controller.instances.size === 0, 'all gone', 10_000);
    expect(bench.world.hangingMost).toBe(3);
    expect(bench.world.guests.size + bench.world.attachments.size).toBe(0);
    expect(bench.world.starts.size).toBe(0);
  });

  it('says so where it has no such runtime, and forgets the instance when it is deleted', async () => {
    const bench = new Bench();
    const uid = bench.controller.add('desktop', { template: { runtime: 'vm' } });
    bench.boot();
    await bench.until(() => bench.phase(uid) === 'failed', 'failed');
    expect(bench.controller.statuses.get(uid)!.reason).toBe('this node has no runtime vm');
    bench.controller.delete(uid);
    await bench.until(() => bench.controller.instances.size === 0, 'forgotten');
  });

  it('makes volumes, mounts them, and removes them only when told to', async () => {
    const bench = new Bench();
    const volume = bench.controller.addVolume('data');
    const uid = bench.controller.add('writer', { template: { volumes: [{ name: 'data', mount: '/data' }] } });
    bench.boot();
    await bench.until(() => bench.phase(uid) === 'running', 'runs');
    expect(bench.world.guests.get(uid)!.spec.volumes[0]!.hostPath).toBe(`/volumes/${volume}`);
    expect(bench.controller.volumeReports.get(volume)?.state).toBe('ready');
    bench.controller.delete(uid);
    await bench.until(() => bench.controller.instances.size === 0, 'the instance is gone');
    expect(bench.world.volumes.has(volume)).toBe(true);
    bench.controller.deleteVolume(volume);
    await bench.until(
      () => bench.controller.volumeReports.get(volume)?.state === 'absent',
      'the volume is gone',
    );
    expect(bench.world.volumes.size).toBe(0);
  });

  it('goes on while the controller is away, and tells it everything afterwards', async () => {
    const { bench, uid } = await runningBench();
    bench.controller.cutOff();
    bench.world.exit(uid, 'error');
    await bench.until(() => bench.world.starts.get(uid) === 2, 'started again alone');
    bench.controller.reachable = true;
    await bench.until(() => bench.controller.statuses.get(uid)!.restartCount === 1, 'told afterwards');
    expect(bench.controller.events.get(uid)).toEqual(['Started', 'Failed', 'Restarted']);
  });

  it('costs nothing while there is nothing to do', async () => {
    const { bench } = await runningBench(5);
    await bench.agent!.atRest();
    await bench.rest();
    expect(bench.world.clock.waiting).toBe(0);
    const { reports } = bench.controller;
    const { calls } = bench.life;
    await bench.world.clock.advance(3600_000);
    expect(bench.controller.reports).toBe(reports);
    expect(bench.life.calls).toBe(calls);
  });

  it('answers for its guests: logs, figures with traffic, and what it lacks by name', async () => {
    const { bench, uid } = await runningBench();
    const { signal } = new AbortController();
    expect(await bench.agent!.node.stats(uid, signal)).toEqual({
      cpuMs: 1,
      memoryBytes: 2,
      rxBytes: 3,
      txBytes: 4,
    });
    const lines: string[] = [];
    for await (const line of bench.agent!.node.logs(uid, {}, signal)) lines.push(line.text);
    expect(lines).toEqual(['hello']);
    const asked = bench.agent!.node.exec(uid, { command: ['ls'], terminal: false }, signal);
    await expect(asked).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('retires: every guest, attachment, volume and record is gone', async () => {
    const { bench } = await runningBench(4);
    bench.controller.addVolume('data');
    await bench.until(() => bench.world.volumes.size === 1, 'the volume is there');
    await bench.agent!.retire({ signal: new AbortController().signal });
    const { guests, attachments, volumes, store } = bench.world;
    expect([guests.size, attachments.size, volumes.size]).toEqual([0, 0, 0]);
    expect((await store.list('/ledger/')).entries).toEqual([]);
  });
});
