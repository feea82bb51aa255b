import { createServer } from 'node:net';
import { ipBatch, ipJson, listLinks, readSysctl, run } from '@skerry/host';
import { ipv6Hex } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { forwarding6IsOurs, otherBridges } from './forwarding.ts';
import type { AttachRequest } from './port.ts';
import {
  type Bed,
  endServer,
  get,
  inside,
  isRoot,
  limit,
  openBed,
  pings,
  serve,
  tracesOf,
} from './test/bed.ts';
import { type Icmp6, icmp6Frame, sendFrames } from './test/frames.ts';

const ALL_NODES = { to: 'ff02::1', toMac: '33:33:00:00:00:01' };

// Namespaces and bridges need root.
describe.skipIf(!isRoot)('IPv6 of the node network', () => {
  let bed: Bed;
  let one: AttachRequest;
  let two: AttachRequest;
  let four: AttachRequest;
  const netns = (guest: AttachRequest) => bed.netnsOf(guest);
  beforeAll(async () => {
    bed = await openBed();
    one = bed.request(0);
    two = bed.request(1);
    const { address6: _, ...plain } = bed.request(2);
    four = plain;
    for (const guest of [one, two, four]) await bed.network.attach(guest, limit());
  });
  afterAll(() => bed?.close());

  test('is told with the interface: an address, the gateway, and where that is', async () => {
    expect(bed.network.subnet6).toBe(bed.subnet6.cidr);
    const { v6 } = await bed.network.attach(one, limit());
    expect(v6).toMatchObject({ address: one.address6, prefixLength: 64, gateway: bed.subnet6.gateway });
    expect((await bed.network.attach(four, limit())).v6).toBeUndefined();
  });

  test('a guest reaches its gateway and another guest, and each sees who asks', async () => {
    expect(await pings(netns(one), bed.subnet6.gateway)).toBe(true);
    expect(await pings(netns(one), two.address6!)).toBe(true);
    const server = await serve(netns(two), 80, 'two');
    try {
      const body = await get(netns(one), `http://[${two.address6}]/`);
      expect(JSON.parse(body ?? '{}')).toMatchObject({ name: 'two', from: one.address6 });
    } finally {
      await endServer(server);
    }
  });

  test('names of guests have both addresses', async () => {
    const { stdout } = await inside(
      netns(one),
      'busybox',
      'nslookup',
      'guest-1.internal',
      bed.subnet.gateway,
    );
    expect(stdout).toContain(two.address);
    expect(stdout).toContain(two.address6);
  });

  test('no interface has an address of the link, and none that a guest gives itself is let through', async () => {
    const rows = await ipJson<{ addr_info: { local: string }[] }>(
      ['-6', 'addr', 'show', 'dev', bed.identity.bridge],
      limit(),
    );
    expect(rows.flatMap(({ addr_info }) => addr_info.map(({ local }) => local))).toEqual([
      bed.subnet6.gateway,
    ]);
    for (const name of listLinks(`${bed.identity.interfacePrefix}v`).map((link) => link.name))
      expect((await inside(undefined, 'ip', '-6', 'addr', 'show', 'dev', name)).stdout).toBe('');
    expect((await inside(netns(one), 'ip', '-6', 'addr', 'show', 'dev', 'eth0')).stdout).not.toContain(
      'fe80',
    );
    const add = (guest: AttachRequest, address: string) =>
      inside(netns(guest), 'ip', 'addr', 'add', address, 'dev', 'eth0', 'nodad');
    await add(one, 'fe80::1/64');
    await add(two, 'fe80::2/64');
    await inside(
      netns(two),
      'ip',
      'neigh',
      'replace',
      'fe80::1',
      'lladdr',
      one.mac,
      'dev',
      'eth0',
      'nud',
      'permanent',
    );
    await inside(
      netns(one),
      'ip',
      'neigh',
      'replace',
      'fe80::2',
      'lladdr',
      two.mac,
      'dev',
      'eth0',
      'nud',
      'permanent',
    );
    expect(await pings(netns(one), 'fe80::2%eth0')).toBe(false);
    for (const [guest, address] of [
      [one, 'fe80::1/64'],
      [two, 'fe80::2/64'],
    ] as const)
      await inside(netns(guest), 'ip', 'addr', 'del', address, 'dev', 'eth0');
  });

  test('a guest that was given none has none, whatever it calls itself', async () => {
    const { address6 } = bed.request(2);
    const lines = [`addr add ${address6}/64 dev eth0 nodad`];
    expect(await ipBatch(lines, limit(), netns(four))).toEqual([]);
    expect(await pings(netns(four), bed.subnet6.gateway)).toBe(false);
    expect(await pings(netns(four), two.address6!)).toBe(false);
  });

  test('a false source is dropped, with its own MAC and with that of another', async () => {
    const stolen = bed.request(9).address6!;
    await inside(netns(one), 'ip', 'addr', 'add', `${stolen}/128`, 'dev', 'eth0', 'nodad');
    const as = (address: string) =>
      inside(netns(one), 'ping', '-n', '-c', '1', '-W', '1', '-I', address, bed.subnet6.gateway);
    expect((await as(stolen)).code).not.toBe(0);
    expect((await as(one.address6!)).code).toBe(0);
    await inside(netns(one), 'ip', 'addr', 'del', `${stolen}/128`, 'dev', 'eth0');
    await inside(netns(one), 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99');
    expect(await pings(netns(one), bed.subnet6.gateway)).toBe(false);
    await inside(netns(one), 'ip', 'link', 'set', 'eth0', 'address', one.mac);
    expect(await pings(netns(one), bed.subnet6.gateway)).toBe(true);
  });

  describe('a guest that plays the router is not heard', () => {
    const spoofed = async () => {
      const { stdout } = await run('nft', ['list', 'counter', 'bridge', bed.identity.nftTable, 'spoofed'], {
        signal: limit(),
        timeoutMs: 10_000,
      });
      return Number(/packets (\d+)/.exec(stdout)?.[1]);
    };
    const frame = (message: Partial<Icmp6> & Pick<Icmp6, 'type' | 'body'>) =>
      icmp6Frame({ from: one.address6!, mac: one.mac, ...ALL_NODES, ...message });
    /** For an hour, a prefix of ours to be (RFC 4861, 4.2 and 4.6.2). */
    const advert = () =>
      `4000ffff0000000000000000${'030440c0'}${'00000e1000000e1000000000'}${ipv6Hex('fd00:bad::')}`;
    const answer = (target: string) => `a0000000${ipv6Hex(target)}0201${one.mac.replaceAll(':', '')}`;
    beforeAll(async () => {
      // a victim as a machine of its own would be: it listens to routers
      const settings = ['accept_ra=2', 'accept_redirects=1'].map((one) => `net.ipv6.conf.eth0.${one}`);
      await inside(netns(two), 'sysctl', '-q', '-w', ...settings);
    });

    test.each<[string, () => string]>([
      ['an advertisement of a router', () => frame({ type: 134, body: advert() })],
      ['one that is hidden behind options', () => frame({ type: 134, body: advert(), hidden: true })],
      ['one that comes as a fragment', () => frame({ type: 134, body: advert(), fragment: true })],
      ['one from an address of the link', () => frame({ type: 134, body: advert(), from: 'fe80::bad' })],
      ['an answer in the name of the gateway', () => frame({ type: 136, body: answer(bed.subnet6.gateway) })],
      ['a redirect', () => frame({ type: 137, body: `00000000${ipv6Hex(one.address6!).repeat(2)}` })],
      ['a question of a multicast router', () => frame({ type: 130, body: '0000000000'.padEnd(40, '0') })],
    ])('%s', async (_, make) => {
      const before = await spoofed();
      await sendFrames(netns(one), make());
      expect(await spoofed()).toBeGreaterThan(before);
      const { stdout } = await inside(netns(two), 'ip', '-6', 'addr', 'show', 'dev', 'eth0');
      expect(stdout).not.toContain('fd00:bad');
      const { stdout: routes } = await inside(netns(two), 'ip', '-6', 'route', 'show', 'default');
      expect(routes.trim().split('\n')).toHaveLength(1);
      expect(await pings(netns(two), bed.subnet6.gateway)).toBe(true);
    });

    test('an answer that tells of its own address is heard, so that neighbours find it', async () => {
      // what kernels say by themselves now and then is counted, too: it is not said each time
      await eventually('nothing is counted', async () => {
        const before = await spoofed();
        await sendFrames(netns(one), frame({ type: 136, body: answer(one.address6!) }));
        return (await spoofed()) === before;
      });
    });
  });

  test('a machine that asks its neighbours, as one with a kernel of its own does, finds the gateway and other guests', async () => {
    const machine = bed.request(4);
    await bed.network.attach(machine, limit());
    const lines = [
      'addr flush dev eth0',
      'neigh flush dev eth0 nud permanent',
      'addr add fe80::4/64 dev eth0 nodad',
      `addr add ${machine.address6}/64 dev eth0`, // with its question whether it is alone (RFC 4862, 5.4)
      `route replace default via ${bed.subnet6.gateway} dev eth0`,
    ];
    for (const line of lines) expect(await ipBatch([line], limit(), netns(machine))).toEqual([]);
    await eventually('it has its address', () => pings(netns(machine), bed.subnet6.gateway));
    expect(await pings(netns(machine), one.address6!)).toBe(true);
    expect(await pings(netns(one), machine.address6!)).toBe(true);
    await bed.network.detach(machine.uid, limit());
  });

  test('addresses that nobody has are refused at once, so that nobody fills the table of neighbours', async () => {
    const nobody = bed.request(500).address6!;
    const { stdout } = await inside(netns(one), 'ping', '-n', '-c', '1', '-W', '2', nobody);
    expect(stdout).toContain('Address unreachable');
    const known = await ipJson<{ dst: string; state: string[] }>(
      ['-6', 'neigh', 'show', 'dev', bed.identity.bridge],
      limit(),
    );
    expect(known.map(({ dst }) => dst).sort()).toEqual([one.address6, two.address6].sort());
    expect(known.every(({ state }) => state.includes('PERMANENT'))).toBe(true);
  });

  test('a guest does not reach what listens on the host, by any of its addresses', async () => {
    const server = createServer((socket) => socket.end('secret'));
    await new Promise<void>((resolve) => server.listen(0, '::', resolve));
    try {
      const { port } = server.address() as { port: number };
      const { stdout, code } = await inside(
        netns(one),
        'busybox',
        'nc',
        '-w',
        '2',
        bed.subnet6.gateway,
        String(port),
      );
      expect(stdout).toBe('');
      expect(code).not.toBe(0);
    } finally {
      server.close();
    }
  });

  test('an address that is not the one of the guest is refused', async () => {
    for (const address6 of ['fd00::2', bed.subnet6.gateway, bed.request(7).address6!, 'x; flush ruleset'])
      await expect(bed.network.attach(bed.request(6, { address6 }), limit())).rejects.toMatchObject({
        code: 'request_invalid',
        details: { field: 'address6' },
      });
  });

  test('goes with its guest, and lives on with another program', async () => {
    const gone = bed.request(5);
    await bed.network.attach(gone, limit());
    expect(await pings(netns(one), gone.address6!)).toBe(true);
    await bed.network.detach(gone.uid, limit());
    const rules = async () =>
      (await run('nft', ['list', 'ruleset'], { signal: limit(), timeoutMs: 10_000 })).stdout;
    expect(await rules()).not.toContain(gone.address6!);
    const next = bed.again();
    await next.start([one, two, four], limit());
    expect(await pings(netns(one), two.address6!)).toBe(true);
  });

  test('leaves the host as it was', async () => {
    const names = ['default', 'lo'].flatMap((name) =>
      ['forwarding', 'accept_ra'].map((setting) => `${name}/${setting}`),
    );
    const look = () => names.map((name) => readSysctl(`net/ipv6/conf/${name}`));
    const during = look();
    const ours = forwarding6IsOurs(bed.identity);
    await bed.network.destroy(limit());
    expect(look()).toEqual(during);
    for (const left of Object.values(await tracesOf(bed.identity))) expect(left).toEqual([]);
    // the setting belongs to the whole machine: another network that came meanwhile needs it
    if (ours && otherBridges(bed.identity).length === 0)
      expect(readSysctl('net/ipv6/conf/all/forwarding')).toBe('0');
  });
});
