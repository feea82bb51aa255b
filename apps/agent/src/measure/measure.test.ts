import type { Measurement } from '@skerry/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isNews, RoundTripWindow, WINDOW } from './figures.ts';
import { Measuring, targetsOf } from './measuring.ts';
import { MOST_EAGER, MOST_TARGETS, RoundTrips, type Target } from './round-trips.ts';

describe('figures', () => {
  it('are the median and the least of what was answered, and the share of what was lost', () => {
    const sample = fc.option(fc.integer({ min: 0, max: 1_000_000 }), { nil: undefined });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 60 }), (samples) => {
        const window = new RoundTripWindow();
        for (const us of samples) window.add(us);
        const last = samples.slice(-WINDOW);
        const answered = last.filter((us) => us !== undefined).sort((a, b) => a - b);
        const read = window.read();
        if (answered.length === 0) {
          expect(read).toBeUndefined();
          return;
        }
        expect(read!.leastUs).toBe(answered[0]);
        expect(read!.medianUs).toBeGreaterThanOrEqual(answered[Math.ceil(answered.length / 2) - 1]!);
        expect(read!.medianUs).toBeLessThanOrEqual(answered[answered.length >> 1]!);
        expect(read!.lossShare).toBeCloseTo(1 - answered.length / last.length);
      }),
    );
  });
  it('hardly move by a single late answer, and what is noise is no news', () => {
    const window = new RoundTripWindow();
    for (let at = 0; at < 10; at++) window.add(2000);
    const before = window.read()!;
    window.add(900_000);
    expect(window.read()!.medianUs).toBe(2000);
    expect(isNews(before, { ...before, medianUs: 2400 })).toBe(false);
    expect(isNews(before, { ...before, medianUs: 2600 })).toBe(true);
    expect(isNews(before, { ...before, lossShare: 0.5 })).toBe(true);
    expect(isNews(undefined, before)).toBe(true);
  });
});

/** Time that only a test moves. */
class Bench {
  nowMs = 0;
  #timers: { atMs: number; call: () => void }[] = [];
  readonly asked: { address: string; atMs: number }[] = [];
  readonly told: Measurement[][] = [];
  readonly dead = new Set<string>();
  readonly connections = new Map<string, number>();
  changes = 0;
  readonly clock = {
    nowMs: () => this.nowMs,
    monotonicMs: () => this.nowMs,
    after: (ms: number, call: () => void) => {
      const timer = { atMs: this.nowMs + ms, call };
      this.#timers.push(timer);
      return () => {
        this.#timers = this.#timers.filter((one) => one !== timer);
      };
    },
  };
  readonly trips = new RoundTrips({
    clock: this.clock,
    random: () => 0.5,
    onReachable: () => {
      this.changes++;
    },
    echo: {
      ask: async (address) => {
        this.asked.push({ address, atMs: this.nowMs });
        return this.dead.has(address) ? undefined : 4000;
      },
      closed: new Promise(() => undefined),
      close: () => undefined,
    },
    tcp: async (address) => this.connections.get(address),
    tell: async (measurements) => void this.told.push([...measurements]),
  });

  async go(ms: number): Promise<void> {
    const until = this.nowMs + ms;
    for (;;) {
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      const next = this.#timers.sort((a, b) => a.atMs - b.atMs)[0];
      if (!next || next.atMs > until) break;
      this.#timers.shift();
      this.nowMs = next.atMs;
      next.call();
    }
    this.nowMs = until;
  }
}
const figures = (us: number) => ({
  ...{ medianUs: us, leastUs: us, lossShare: 0, ageMs: expect.any(Number) },
});
const target = (name: string, eager: boolean, kind: 'node' | 'client' = 'node'): Target => ({
  ...{ kind, name, address: `address of ${name}`, eager },
});

describe('round trips', () => {
  it('notice a node that packets are led to within three seconds, and its return', async () => {
    const bench = new Bench();
    bench.trips.setTargets([target('a', true)]);
    await bench.go(10_000);
    expect(bench.trips.reachable('a')).toBe(true);
    expect(bench.trips.oneWayUs('a')).toBe(2000);
    bench.dead.add('address of a');
    await bench.go(3000);
    expect(bench.trips.reachable('a')).toBe(false);
    expect(bench.changes).toBe(1);
    bench.dead.clear();
    await bench.go(2000);
    expect(bench.trips.reachable('a')).toBe(true);
  });

  it('ask others seldom, and those that never answer ever more seldom: the traffic has a bound', async () => {
    const bench = new Bench();
    bench.dead.add('address of gone');
    bench.trips.setTargets([target('calm', false), target('gone', false), target('eager', true)]);
    await bench.go(3_600_000);
    const count = (name: string) =>
      bench.asked.filter(({ address }) => address === `address of ${name}`).length;
    expect(count('eager')).toBeLessThanOrEqual(3601);
    expect(count('calm')).toBeLessThanOrEqual(721);
    expect(count('gone')).toBeLessThanOrEqual(75);
    const many = new Bench();
    many.trips.setTargets(Array.from({ length: 2000 }, (_, at) => target(`n${at}`, true)));
    await many.go(10_000);
    const perSecond = many.asked.length / 10;
    expect(perSecond).toBeLessThanOrEqual(1.2 * (MOST_EAGER + MOST_TARGETS / 5));
  });

  it('tell what is news, and each minute that they still measure', async () => {
    const bench = new Bench();
    bench.trips.setTargets([target('a', false)]);
    await bench.go(30_000);
    expect(bench.told).toEqual([[{ ...figures(4000), kind: 'node', name: 'a', by: 'icmp' }]]);
    await bench.go(600_000);
    expect(bench.told.length).toBeGreaterThanOrEqual(9);
    expect(bench.told.length).toBeLessThanOrEqual(12);
    bench.trips.close();
    const { length } = bench.asked;
    await bench.go(60_000);
    expect(bench.asked).toHaveLength(length);
  });

  it('of a client that answers no echo are what the kernel knows of its connections, until it answers one', async () => {
    const bench = new Bench();
    bench.dead.add('address of phone');
    bench.dead.add('address of node');
    for (const name of ['phone', 'node']) bench.connections.set(`address of ${name}`, 21_000);
    bench.trips.setTargets([target('phone', false, 'client'), target('node', false)]);
    await bench.go(60_000);
    expect(bench.told[0]).toEqual([{ ...figures(21_000), kind: 'client', name: 'phone', by: 'tcp' }]);
    expect(bench.told.flat().map(({ name }) => name)).not.toContain('node');
    bench.dead.clear();
    await bench.go(60_000);
    expect(bench.told.flat().filter(({ name }) => name === 'phone')).toContainEqual(
      expect.objectContaining({ ...figures(4000), by: 'icmp' }),
    );
  });

  it('are of the nodes that packets are led to, of other peers and of clients', () => {
    const endpoint = { uid: 'x' as never, node: 'b', address: '10.0.0.2', latencyUs: 1, healthy: true };
    const service = {
      uid: 'w' as never,
      project: 'p',
      name: 'n',
      address: '198.18.0.1',
      ports: [],
      endpoints: [endpoint],
    };
    const peer = (node: string) => ({ node, address: `address of ${node}`, subnet: '10.64.0.0/22' });
    const network = {
      ...{ peers: [peer('a'), peer('b')], services: [service] },
      clients: [{ name: 'phone', address: '192.0.2.7' }],
    };
    expect(targetsOf(network, 'here')).toEqual([
      { kind: 'node', name: 'b', address: 'address of b', eager: true },
      { kind: 'node', name: 'a', address: 'address of a', eager: false },
      { kind: 'client', name: 'phone', address: '192.0.2.7', eager: false },
    ]);
  });

  it('say nothing of other nodes when the program that asks them has ended, and go on with another one', async () => {
    const bench = new Bench();
    const ends: (() => void)[] = [];
    const measuring = new Measuring({
      ...{ node: 'here', clock: bench.clock, random: () => 0.5, onChange: () => undefined },
      logger: {
        debug: () => undefined,
        info: () => undefined,
        warn: () => undefined,
        error: () => undefined,
      },
      tell: async () => undefined,
      open: async () => {
        let isEnded = false;
        const closed = new Promise<void>((resolve) => {
          ends.push(() => {
            isEnded = true;
            resolve();
          });
        });
        return { ask: async () => (isEnded ? undefined : 4000), closed, close: () => undefined };
      },
    });
    const endpoint = { uid: 'x' as never, node: 'b', address: '10.0.0.2', latencyUs: 1, healthy: true };
    const service = {
      ...{ uid: 'w' as never, project: 'p', name: 'n', address: '198.18.0.1', ports: [] },
      endpoints: [endpoint],
    };
    measuring.wish({
      peers: [{ node: 'b', address: 'address of b', subnet: '10.64.0.0/22' }],
      services: [service],
    });
    await bench.go(5000);
    expect(measuring.oneWayUs('b')).toBe(2000);
    ends[0]!();
    await bench.go(20_000);
    expect(measuring.reachable('b')).toBe(true);
    await bench.go(30_000);
    expect(ends).toHaveLength(2);
    expect(measuring.oneWayUs('b')).toBe(2000);
    measuring.close();
  });
});
