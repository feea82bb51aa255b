// Further cards of one guest, on bridges that somebody else made.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GUEST_UID, ipBatch, linkState, listLinks } from '@skerry/host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cardMac } from './index.ts';
import { type Bed, isRoot, limit, openBed } from './test/bed.ts';

test('the MAC of a card is of one card alone, stays, and differs by guest and network', () => {
  const macs = ['a', 'b'].flatMap((uid) => ['plant', 'office'].map((network) => cardMac(uid, network)));
  expect(new Set(macs).size).toBe(4);
  for (const mac of macs) expect(mac).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(cardMac('a', 'plant')).toBe(macs[0]);
});

// Bridges need root.
describe.skipIf(!isRoot)('cards', () => {
  const own = randomBytes(3).toString('hex');
  const [plant, office] = [`skt${own}p`, `skt${own}o`];
  const bridges = { plant, office, gone: `skt${own}g`, loop: 'lo' };
  let bed: Bed;
  beforeAll(async () => {
    const lines = [plant, office].map((name) => `link add name ${name} mtu 1400 type bridge`);
    await ipBatch(lines, limit());
    bed = await openBed({ bridges });
  });
  afterAll(async () => {
    await bed?.close();
    await ipBatch(
      [plant, office].map((name) => `link del dev ${name}`),
      limit(),
    );
  });
  const card = (network: string) => ({ network, mac: cardMac('guest', network) });
  const taps = () =>
    listLinks(`${bed.identity.interfacePrefix}n`).map(({ name, bridge }) => `${name.slice(10)} ${bridge}`);

  test('are taps of their bridges, for the user of guests, and are left as they are by a second attach and a new start', async () => {
    const guest = bed.request(3, { kind: 'tap', cards: [card('plant'), card('office')] });
    const attached = await bed.network.attach(guest, limit());
    const cards = attached.kind === 'tap' ? attached.cards! : [];
    expect(cards.map(({ network }) => network)).toEqual(['plant', 'office']);
    const state = () => cards.map(({ device }) => linkState(device));
    const before = state();
    expect(before).toMatchObject([
      { bridge: plant, up: true, alias: guest.uid, mtu: 1400 },
      { bridge: office, up: true, alias: guest.uid, mtu: 1400 },
    ]);
    const owner = () => readFileSync(`/sys/class/net/${cards[0]!.device}/owner`, 'utf8').trim();
    expect(owner()).toBe(String(GUEST_UID));
    expect(await bed.network.attach(guest, limit())).toEqual(attached);
    const again = bed.again();
    await again.start([guest], limit());
    expect(state()).toEqual(before);
    await again.detach(guest.uid, limit());
    expect(taps()).toEqual([]);
  });

  test('that a guest has no more, and those that no guest owns, go', async () => {
    const guest = bed.request(4, { kind: 'tap', cards: [card('plant'), card('office')] });
    await bed.network.attach(guest, limit());
    expect(taps()).toEqual([`n14 ${plant}`, `n24 ${office}`]);
    await bed.network.attach({ ...guest, cards: [card('office')] }, limit());
    expect(taps()).toEqual([`n14 ${office}`]);
    await bed.again().start([], limit());
    expect(taps()).toEqual([]);
    expect(listLinks(bed.identity.interfacePrefix).map(({ alias }) => alias)).not.toContain(guest.uid);
  });

  test.each([
    ['gone', /bridge skt.*there is none: make it \(ip link add/],
    ['loop', /lo is no bridge/],
    ['shore', /no network "shore": start its agent with --network shore=BRIDGE/],
  ])(
    'on the network %s are refused with what to do, and nothing is left of the guest',
    async (network, words) => {
      const guest = bed.request(5, { kind: 'tap', cards: [card('plant'), card(network)] });
      await expect(bed.network.attach(guest, limit())).rejects.toThrow(words);
      expect(taps()).toEqual([]);
      expect(listLinks(bed.identity.interfacePrefix).map(({ alias }) => alias)).not.toContain(guest.uid);
    },
  );

  test('the probe tells of each network', async () => {
    const found = (await bed.network.probe(limit())).filter(({ name }) => name.startsWith('bridge.'));
    expect(found.map(({ name, level }) => `${name} ${level}`)).toEqual([
      ...['bridge.plant ok', 'bridge.office ok', 'bridge.gone missing', 'bridge.loop missing'],
    ]);
  });
});
