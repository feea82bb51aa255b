import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '@skerry/model';
import { createMemoryStore, openSqliteStore } from '@skerry/store';
import { describe, expect, it } from 'vitest';
import { Bench, turns } from '../testing/bench.ts';
import { FakeController } from '../testing/fake-controller.ts';
import { DesiredLedger } from './desired-ledger.ts';

describe('ledger of desired state', () => {
  it('refuses an older generation, and has nothing new to say of the same one', async () => {
    const ledger = new DesiredLedger(createMemoryStore());
    const controller = new FakeController();
    controller.add('one');
    const old = controller.state;
    controller.add('two');
    expect(await ledger.accept(controller.state)).toBe('accepted');
    expect(await ledger.accept(controller.state)).toBe('same');
    expect(await ledger.accept(old)).toBe('older');
    expect(ledger.current!.instances).toHaveLength(2);
  });

  it('reads back what it wrote, and writes only what changed', async () => {
    const store = createMemoryStore();
    const ledger = new DesiredLedger(store);
    const controller = new FakeController();
    for (let i = 0; i < 100; i++) controller.add(`w${i}`);
    controller.addVolume('data');
    await ledger.accept(controller.state);
    const before = new Set(
      (await store.list('/ledger/current/')).entries.map(({ modRevision }) => modRevision),
    );
    controller.restart([...controller.instances.keys()][3]!);
    await ledger.accept(controller.state);
    const { entries } = await store.list('/ledger/current/');
    expect(entries.filter(({ modRevision }) => !before.has(modRevision))).toHaveLength(2);
    const again = new DesiredLedger(store);
    await again.load();
    const byUid = (state: typeof again.current) =>
      state!.instances.toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
    expect(byUid(again.current)).toEqual(byUid(controller.state));
    expect(again.current!.volumes).toEqual(controller.state.volumes);
  });

  it('survives in a file, the ways of the packets, too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skerry-ledger-'));
    try {
      const controller = new FakeController();
      controller.add('one');
      const peers = [{ node: 'b', address: '192.0.2.2', subnet: '10.64.4.0/22' }];
      const ports = [{ name: 'web', port: 80, protocol: 'tcp' as const, targetPort: 8080 }];
      const service = { uid: newId<'workload'>(), project: 'default', name: 'web', address: '10.190.0.1' };
      controller.network = { peers, services: [{ ...service, ports, endpoints: [] }] };
      const store = openSqliteStore({ path: join(folder, 'ledger.db') });
      await new DesiredLedger(store).accept(controller.state);
      await store.close();
      const reopened = openSqliteStore({ path: join(folder, 'ledger.db') });
      const ledger = new DesiredLedger(reopened);
      await ledger.load();
      expect(ledger.current).toEqual(controller.state);
      await reopened.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('an agent that keeps dying on a new desired state', () => {
  it('goes back to the last good one without touching what runs, says so, and tries the new one again later', async () => {
    const bench = new Bench();
    const kept = bench.controller.add('kept');
    bench.boot();
    await bench.until(() => bench.phase(kept) === 'running', 'the good one runs');
    await turns(30);
    const { pid } = bench.world.running(kept)!;
    const poison = bench.controller.add('poison');
    bench.controller.change(kept, { template: { env: { NEW: '1' } } });
    bench.life.kill();
    const ledger = new DesiredLedger(bench.world.store);
    await ledger.load();
    await ledger.accept(bench.controller.state);
    for (let boot = 0; boot < 5; boot++) {
      bench.boot({ connected: false });
      while (!(await bench.world.store.get('/ledger/boots'))?.value.includes(`"count":${boot + 1}`))
        await turns(1);
      bench.life.kill(); // it never comes to rest
    }
    bench.boot();
    await bench.until(() => bench.phase(poison) !== undefined, 'held ones are reported');
    expect(bench.controller.statuses.get(poison)!.reason).toContain('went back to');
    expect(bench.controller.events.get(poison)).toContain('LedgerHeld');
    expect(bench.world.running(kept)!.pid).toBe(pid);
    expect(bench.world.guests.has(poison)).toBe(false);
    await bench.until(() => bench.phase(poison) === 'running', 'tried again', 20_000);
    expect(bench.controller.statuses.get(kept)!.observedGeneration).toBe(2);
    expect(bench.world.violations).toEqual([]);
  });

  it('is held to account per generation: a newer one is taken at once', async () => {
    const bench = new Bench();
    const kept = bench.controller.add('kept');
    bench.boot();
    await bench.until(() => bench.phase(kept) === 'running', 'the good one runs');
    await turns(30);
    bench.life.kill();
    bench.controller.add('poison');
    const ledger = new DesiredLedger(bench.world.store);
    await ledger.load();
    await ledger.accept(bench.controller.state);
    for (let boot = 0; boot < 6; boot++) await ledger.countBoot();
    const startedMs = bench.world.clock.nowMs();
    const cure = bench.controller.add('cure');
    bench.boot();
    await bench.until(() => bench.phase(cure) === 'running', 'the newer one runs');
    expect(bench.world.clock.nowMs() - startedMs).toBeLessThan(5000);
  });
});
