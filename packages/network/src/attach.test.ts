import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { GUEST_UID, linkState, netnsExists } from '@skerry/host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bed, inside, isRoot, limit, openBed, pings, tracesOf } from './test/bed.ts';

// Namespaces and bridges need root.
describe.skipIf(!isRoot)('attaching guests', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await openBed();
  });
  afterAll(() => bed?.close());

  test('a container reaches its gateway and another guest, by address and by name', async () => {
    const [one, two] = [bed.request(0), bed.request(1)];
    const attached = await bed.network.attach(one, limit());
    await bed.network.attach(two, limit());
    expect(attached).toMatchObject({ kind: 'netns', address: one.address, gateway: bed.subnet.gateway });
    const netns = bed.netnsOf(one);
    expect(await pings(netns, bed.subnet.gateway)).toBe(true);
    expect(await pings(netns, two.address)).toBe(true);
    const { stdout } = await inside(netns, 'busybox', 'nslookup', 'guest-1.internal', bed.subnet.gateway);
    expect(stdout).toContain(two.address);
    for (const guest of [one, two]) await bed.network.detach(guest.uid, limit());
  });

  test('attaching twice changes nothing and answers the same', async () => {
    const guest = bed.request(2, {
      ports: [{ name: 'web', port: 80, protocol: 'tcp', publish: 28_102 }],
    });
    const first = await bed.network.attach(guest, limit());
    const device = `${bed.identity.interfacePrefix}v2`;
    const index = readFileSync(`/sys/class/net/${device}/ifindex`, 'utf8');
    expect(await bed.network.attach(guest, limit())).toEqual(first);
    expect(readFileSync(`/sys/class/net/${device}/ifindex`, 'utf8')).toBe(index);
    await bed.network.detach(guest.uid, limit());
    await bed.network.detach(guest.uid, limit());
    expect(linkState(device)).toBeUndefined();
    expect(netnsExists(bed.netnsOf(guest))).toBe(false);
  });

  test('a tap belongs to the unprivileged user of guests and is a port of the bridge', async () => {
    const guest = bed.request(3, { kind: 'tap' });
    const attached = await bed.network.attach(guest, limit());
    expect(await bed.network.attach(guest, limit())).toEqual(attached);
    const device = attached.kind === 'tap' ? attached.device : '';
    expect(readFileSync(`/sys/class/net/${device}/owner`, 'utf8').trim()).toBe(String(GUEST_UID));
    expect(linkState(device)).toMatchObject({ bridge: bed.identity.bridge, up: true, alias: guest.uid });
    await bed.network.detach(guest.uid, limit());
    expect(linkState(device)).toBeUndefined();
  });

  test('a guest that asks by DHCP gets the address that it was given', async () => {
    const guest = bed.request(4);
    await bed.network.attach(guest, limit());
    const netns = bed.netnsOf(guest);
    await inside(netns, 'ip', 'addr', 'flush', 'dev', 'eth0');
    const { stdout, stderr } = await inside(
      netns,
      'busybox',
      ...['udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-t', '5', '-T', '1', '-s', '/bin/true'],
    );
    expect(stdout + stderr).toContain(`lease of ${guest.address} obtained`);
    await bed.network.detach(guest.uid, limit());
  });

  test('a name goes with its guest', async () => {
    const [asks, goes] = [bed.request(5), bed.request(6, { hostname: 'short-lived' })];
    await bed.network.attach(asks, limit());
    await bed.network.attach(goes, limit());
    const ask = () =>
      inside(bed.netnsOf(asks), 'busybox', 'nslookup', 'short-lived.internal', bed.subnet.gateway);
    expect((await ask()).stdout).toContain(goes.address);
    await bed.network.detach(goes.uid, limit());
    expect((await ask()).stdout).not.toContain(goes.address);
    await bed.network.detach(asks.uid, limit());
  });

  test('what a guest says of itself is checked: a false address or MAC gets nowhere', async () => {
    const [liar, other] = [bed.request(7), bed.request(8)];
    await bed.network.attach(liar, limit());
    await bed.network.attach(other, limit());
    const netns = bed.netnsOf(liar);
    expect(await pings(netns, other.address)).toBe(true);
    const stolen = bed.request(9).address;
    await inside(netns, 'ip', 'addr', 'add', `${stolen}/${bed.subnet.prefixLength}`, 'dev', 'eth0');
    const asStolen = await inside(netns, 'ping', '-n', '-c', '1', '-W', '1', '-I', stolen, other.address);
    expect(asStolen.code).not.toBe(0);
    await inside(netns, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99');
    expect(await pings(netns, other.address)).toBe(false);
    await inside(netns, 'ip', 'link', 'set', 'eth0', 'address', liar.mac);
    await inside(netns, 'ip', 'neigh', 'flush', 'all');
    expect(await pings(netns, other.address)).toBe(true);
    for (const guest of [liar, other]) await bed.network.detach(guest.uid, limit());
  });

  test('a guest does not reach what listens on the host', async () => {
    const server = createServer((socket) => socket.end('secret'));
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const guest = bed.request(10);
    try {
      await bed.network.attach(guest, limit());
      const { port } = server.address() as { port: number };
      const { stdout, code } = await inside(
        bed.netnsOf(guest),
        'busybox',
        ...['nc', '-w', '2', bed.subnet.gateway, String(port)],
      );
      expect(stdout).toBe('');
      expect(code).not.toBe(0);
    } finally {
      server.close();
      await bed.network.detach(guest.uid, limit());
    }
  });

  test('counters count from the point of view of the guest', async () => {
    const guest = bed.request(11);
    await bed.network.attach(guest, limit());
    const before = (await bed.network.counters(guest.uid))!;
    await inside(bed.netnsOf(guest), 'ping', '-n', '-c', '1', '-s', '1000', bed.subnet.gateway);
    const after = (await bed.network.counters(guest.uid))!;
    expect(after.txBytes - before.txBytes).toBeGreaterThan(1000);
    expect(after.rxBytes - before.rxBytes).toBeGreaterThan(1000);
    await bed.network.detach(guest.uid, limit());
    expect(await bed.network.counters(guest.uid)).toBeUndefined();
  });

  test('a request that is not valid or takes the place of another leaves nothing', async () => {
    const guest = bed.request(12);
    await bed.network.attach(guest, limit());
    const before = await tracesOf(bed.identity);
    const refused = [
      { request: bed.request(12), code: 'conflict' },
      { request: bed.request(13, { address: bed.subnet.gateway }), code: 'request_invalid' },
      { request: bed.request(13, { hostname: 'a\nb' }), code: 'request_invalid' },
      { request: bed.request(13, { mac: '02:00:00:00:00:zz' }), code: 'request_invalid' },
    ];
    for (const { request, code } of refused) {
      await expect(bed.network.attach(request, limit())).rejects.toMatchObject({ code });
    }
    expect(await tracesOf(bed.identity)).toEqual(before);
    await bed.network.detach(guest.uid, limit());
  });

  test('fifty guests attach at once and all are reachable', async () => {
    const guests = Array.from({ length: 50 }, (_, index) => bed.request(100 + index));
    await Promise.all(guests.map((guest) => bed.network.attach(guest, limit())));
    const netns = bed.netnsOf(guests[0]!);
    const reached = await Promise.all(guests.slice(1).map((guest) => pings(netns, guest.address)));
    expect(reached.filter((yes) => !yes)).toEqual([]);
    await Promise.all(guests.map((guest) => bed.network.detach(guest.uid, limit())));
    expect((await tracesOf(bed.identity)).namespaces).toEqual([]);
  });
});
