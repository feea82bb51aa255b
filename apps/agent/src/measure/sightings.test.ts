import type { Sighting } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import { beforeEach, expect, test } from 'vitest';
import { ClientWatch, type NeighbourEar } from './client-watch.ts';
import { type HeardNeighbour, MOST_ADDRESSES, MOST_AT_ONCE, Sightings } from './sightings.ts';

/** Time that only a test moves. */
let nowMs: number;
let timers: { atMs: number; call: () => void }[];
let told: Sighting[][];
let isReached: boolean;
const clock = {
  nowMs: () => nowMs,
  monotonicMs: () => nowMs,
  after: (ms: number, call: () => void) => {
    const timer = { atMs: nowMs + ms, call };
    timers.push(timer);
    return () => {
      timers = timers.filter((one) => one !== timer);
    };
  },
};
async function pass(ms: number): Promise<void> {
  const until = nowMs + ms;
  for (;;) {
    const [next] = timers.filter(({ atMs }) => atMs <= until).sort((a, b) => a.atMs - b.atMs);
    if (!next) break;
    timers = timers.filter((one) => one !== next);
    nowMs = next.atMs;
    next.call();
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  }
  nowMs = until;
}
const tell = async (sightings: readonly Sighting[]) => {
  if (!isReached) throw new SkerryError('unavailable', 'no controller');
  told.push([...sightings]);
};
const interfaces = [
  { interface: 'eth1', accessPoint: 'tower-1' },
  { interface: 'eth2', accessPoint: 'tower-2' },
];
const phone = (state: HeardNeighbour['state'], at = 'eth1', mac = '02:00:00:00:00:07'): HeardNeighbour => ({
  ...{ address: '192.0.2.7', interface: at, state, mac },
});
const settledAt = (accessPoint: string) => [{ name: 'phone', address: '192.0.2.7', accessPoint }];
const places = () => told.flat().map(({ accessPoint }) => accessPoint);
let sightings: Sightings;
beforeEach(() => {
  nowMs = 1000;
  timers = [];
  told = [];
  isReached = true;
  sightings = new Sightings({ interfaces, clock, tell });
});

test('a client that appears is told once, within 50 ms, and no more while the controller agrees', async () => {
  sightings.heard(phone('stale'));
  sightings.heard(phone('delay'));
  sightings.heard(phone('reachable'));
  await pass(50);
  expect(told).toEqual([[{ address: '192.0.2.7', accessPoint: 'tower-1', ageMs: 50 }]]);
  sightings.settled(settledAt('tower-1'));
  for (let time = 0; time < 1000; time++) {
    await pass(30_000);
    sightings.heard(phone('stale'));
    sightings.heard(phone('reachable'));
  }
  expect(told).toHaveLength(1);
  expect(timers).toEqual([]);
});

test('one that went to another node and comes back is told at once, though the kernel never forgot it', async () => {
  sightings.heard(phone('stale'));
  await pass(50);
  sightings.settled(settledAt('tower-1'));
  sightings.settled([]);
  await pass(10);
  sightings.heard(phone('probe'));
  sightings.heard(phone('reachable'));
  await pass(50);
  expect(places()).toEqual(['tower-1', 'tower-1']);
});

test('one that goes to another interface of the node is told there, and what the old entry does is nothing', async () => {
  sightings.heard(phone('reachable'));
  await pass(50);
  sightings.settled(settledAt('tower-1'));
  sightings.heard(phone('stale', 'eth2'));
  sightings.heard(phone('stale'));
  sightings.heard(phone('failed'));
  await pass(50);
  expect(places()).toEqual(['tower-1', 'tower-2']);
});

test('another machine with its address is one that appears; what nobody answered for, and link-local ones, are not', async () => {
  sightings.heard({ address: '192.0.2.8', interface: 'eth1', state: 'incomplete' });
  sightings.heard({ ...phone('reachable'), address: 'fe80::7' });
  sightings.heard({ ...phone('reachable'), interface: 'eth0' });
  await pass(1000);
  expect(told).toEqual([]);
  sightings.heard(phone('stale'));
  sightings.settled(settledAt('tower-1'));
  await pass(50);
  sightings.settled([]);
  sightings.heard(phone('stale', 'eth1', '02:00:00:00:00:99'));
  await pass(50);
  expect(told).toHaveLength(2);
});

test('a client that is known by two addresses is told of once for each, until the controller agrees', async () => {
  const second = { ...phone('reachable'), address: '2001:db8::7' };
  for (const one of [phone('reachable'), second]) sightings.heard(one);
  await pass(50);
  expect(told.flat()).toHaveLength(2);
  sightings.settled(settledAt('tower-1').map((one) => ({ ...one, address6: '2001:DB8:0::7' })));
  await pass(600_000);
  expect(told.flat()).toHaveLength(2);
});

test('an address that the controller does not know is told ever more seldom, in the end each five minutes', async () => {
  for (let at = 0; at < 2880; at++) {
    sightings.heard(phone('reachable'));
    await pass(30_000);
  }
  expect(told.length).toBeGreaterThan(12);
  expect(told.length).toBeLessThanOrEqual(24 * 12 + 8);
});

test('without a controller what was seen last waits, with its age, and is told when there is one; not after an hour', async () => {
  isReached = false;
  sightings.heard({ ...phone('reachable'), address: '192.0.2.9' });
  await pass(3_500_000);
  sightings.heard(phone('reachable'));
  sightings.heard(phone('reachable', 'eth2'));
  await pass(200_000);
  isReached = true;
  sightings.begun();
  await pass(50);
  expect(told).toEqual([[{ address: '192.0.2.7', accessPoint: 'tower-2', ageMs: 200_050 }]]);
});

test('a flood of invented addresses costs bounded memory and messages of bounded size', async () => {
  for (let at = 0; at < 3 * MOST_ADDRESSES; at++)
    sightings.heard({ ...phone('stale'), address: `2001:db8::${at.toString(16)}` });
  await pass(10_000);
  expect(told.flat()).toHaveLength(MOST_ADDRESSES);
  for (const message of told) expect(message.length).toBeLessThanOrEqual(MOST_AT_ONCE);
});

test('of those that were there before, who answered lately is seen; later lists tell of who came meanwhile', async () => {
  const idle = { ...phone('stale'), address: '192.0.2.8' };
  sightings.listed([phone('reachable'), idle]);
  await pass(50);
  expect(told.flat().map(({ address }) => address)).toEqual(['192.0.2.7']);
  sightings.listed([phone('stale'), idle, { ...phone('stale'), address: '192.0.2.9' }]);
  await pass(50);
  expect(told.flat().map(({ address }) => address)).toEqual(['192.0.2.7', '192.0.2.9']);
});

test('an ear that is lost is opened again, ever later, and not after the end', async () => {
  const ears: NeighbourEar[] = [];
  const quiet = () => undefined;
  const watch = new ClientWatch({
    ...{ interfaces, clock, tell, logger: { debug: quiet, info: quiet, warn: quiet, error: quiet } },
    watch: async (names, ear) => {
      expect(names).toEqual(['eth1', 'eth2']);
      ears.push(ear);
      return { close: quiet };
    },
  });
  watch.start();
  await pass(0);
  for (const [pauseMs, opened] of [
    [1000, 2],
    [2000, 3],
    [4000, 4],
  ] as const) {
    ears.at(-1)!.ended(new SkerryError('host_command_failed', 'it ended'));
    await pass(pauseMs - 1);
    expect(ears).toHaveLength(opened - 1);
    await pass(1);
    expect(ears).toHaveLength(opened);
  }
  watch.close();
  ears.at(-1)!.ended(new SkerryError('host_command_failed', 'it ended'));
  await pass(600_000);
  expect(ears).toHaveLength(4);
});
