import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  endProcess,
  ipBatch,
  linkState,
  nftApply,
  type ProcessRef,
  processRef,
  readSysctl,
} from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { forwardingIsOurs, otherBridges } from './forwarding.ts';
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

const nameServerOf = (bed: Bed): ProcessRef =>
  processRef(Number(readFileSync(join(bed.identity.runDir, 'dnsmasq/pid'), 'utf8')))!;
const nothing = { links: [], namespaces: [], tables: [], processes: [], files: [], claims: [] };
let port = 28_200; // claims are tested, not listeners: these lie outside the range of ephemeral ports
const published = () => [{ name: 'web', port: 80, protocol: 'tcp' as const, publish: port++ }];

// Namespaces, bridges and daemons need root.
describe.skipIf(!isRoot)('a node network', () => {
  const beds: Bed[] = [];
  const open = async (options = {}) => {
    const bed = await openBed(options);
    beds.push(bed);
    return bed;
  };
  afterEach(async () => {
    for (const bed of beds.splice(0)) await bed.close();
  });

  test('leaves nothing once it is destroyed, and can be destroyed twice', async () => {
    const bed = await open();
    const bps = 10_000_000 as never;
    await bed.network.attach(bed.request(0, { ports: published() }), limit());
    await bed.network.attach(
      bed.request(1, { kind: 'tap', bandwidth: { inBps: bps, outBps: bps } }),
      limit(),
    );
    const traces = await tracesOf(bed.identity);
    rmSync(join(bed.identity.runDir, 'dnsmasq/pid')); // a name server without its pid file is found all the same
    expect(traces.links).toHaveLength(4); // bridge, veth, tap, IFB
    expect(traces).toMatchObject({ namespaces: [expect.any(String)], claims: [expect.any(String)] });
    expect(traces.processes).toHaveLength(1);
    const ours = forwardingIsOurs(bed.identity);
    await bed.network.destroy(limit());
    const forward = readSysctl('net/ipv4/ip_forward');
    expect(await tracesOf(bed.identity)).toEqual(nothing);
    await bed.network.destroy(limit());
    // the setting belongs to the whole machine: another network that came meanwhile needs it
    if (ours && otherBridges(bed.identity).length === 0) expect(forward).toBe('0');
  });

  test('of one data folder does not touch that of another', async () => {
    const [one, two] = [await open(), await open()];
    expect(one.subnet.cidr).not.toBe(two.subnet.cidr);
    const ports = published();
    const mine = one.request(0, { ports });
    const theirs = two.request(0);
    await one.network.attach(mine, limit());
    await two.network.attach(theirs, limit());
    await expect(two.network.attach(two.request(1, { ports }), limit())).rejects.toMatchObject({
      code: 'port_taken',
      details: { by: one.identity.id },
    });
    expect(await pings(two.netnsOf(theirs), mine.address)).toBe(false);
    const before = await tracesOf(one.identity);
    await two.again().start([], limit()); // sweeps its own only
    await two.network.destroy(limit());
    expect(await tracesOf(one.identity)).toEqual(before);
    expect(await pings(one.netnsOf(mine), one.subnet.gateway)).toBe(true);
    expect(readSysctl('net/ipv4/ip_forward')).toBe('1');
  });

  test('started again after a crash keeps what guests own, without a pause, and removes the rest', async () => {
    const bed = await open();
    const kept = bed.request(0, { ports: published() });
    const lost = [bed.request(1, { ports: published() }), bed.request(2, { kind: 'tap' })];
    for (const guest of [kept, ...lost]) await bed.network.attach(guest, limit());
    const server = await serve(bed.netnsOf(kept), 80, 'kept');
    try {
      const url = `http://127.0.0.1:${kept.ports[0]!.publish}/`;
      const page = () => fetch(url, { signal: limit(1000) }).then((response) => response.text());
      await eventually('the guest answers', page);
      const names = nameServerOf(bed);
      const index = linkState(`${bed.identity.interfacePrefix}v0`);
      const next = bed.again();
      await next.start([kept], limit());
      expect(await page()).toContain('kept');
      expect(linkState(`${bed.identity.interfacePrefix}v0`)).toEqual(index);
      expect(nameServerOf(bed)).toEqual(names); // adopted, not started anew
      const traces = await tracesOf(bed.identity);
      expect(traces.namespaces).toEqual([bed.netnsOf(kept)]);
      expect(traces.links.sort()).toEqual([bed.identity.bridge, `${bed.identity.interfacePrefix}v0`]);
      expect(traces.claims).toEqual([`tcp-${kept.ports[0]!.publish}`]);
      await next.attach(bed.request(1, { ports: lost[0]!.ports }), limit()); // the swept port is free again
      await next.detach(kept.uid, limit()); // known though another program attached it
      expect(await next.counters(kept.uid)).toBeUndefined();
    } finally {
      await endServer(server);
    }
  });

  test('is made anew after a power cut, with the same addresses', async () => {
    const bed = await open();
    const guests = [bed.request(0, { ports: published() }), bed.request(1)];
    const before = [];
    for (const guest of guests) before.push(await bed.network.attach(guest, limit()));
    await bed.network.destroy(limit()); // a reboot leaves as little
    const next = bed.again();
    await next.start(guests, limit());
    const after = [];
    for (const guest of guests) after.push(await next.attach(guest, limit()));
    expect(after).toEqual(before);
    expect(await pings(bed.netnsOf(guests[0]!), guests[1]!.address)).toBe(true);
  });

  test('puts back what was lost while it was away: bridge, rules', async () => {
    const bed = await open();
    const guest = bed.request(0);
    await bed.network.attach(guest, limit());
    await nftApply(`delete table inet ${bed.identity.nftTable}\n`, limit());
    await ipBatch([`link del dev ${bed.identity.bridge}`], limit());
    const missing = (await bed.network.probe(limit())).filter((finding) => !finding.ok);
    expect(missing.map((finding) => finding.name)).toEqual(
      expect.arrayContaining(['network.bridge', 'network.nftables']),
    );
    for (const finding of missing) expect(finding.remedy).toBeTruthy();
    await bed.again().start([guest], limit());
    expect(await pings(bed.netnsOf(guest), bed.subnet.gateway)).toBe(true);
    const { stdout } = await inside(
      bed.netnsOf(guest),
      'busybox',
      'nslookup',
      'guest-0.internal',
      bed.subnet.gateway,
    );
    expect(stdout).toContain(guest.address);
    expect((await bed.network.probe(limit())).filter((finding) => !finding.ok)).toEqual([]);
  });

  test('makes its rules anew with the next change when somebody took them away', async () => {
    const bed = await open();
    const [first, second] = [bed.request(0), bed.request(1)];
    await bed.network.attach(first, limit());
    const flush = () =>
      nftApply(
        ['inet', 'bridge'].map((family) => `delete table ${family} ${bed.identity.nftTable}\n`).join(''),
        limit(),
      );
    await flush();
    await bed.network.attach(second, limit());
    expect(await pings(bed.netnsOf(first), second.address)).toBe(true);
    await flush();
    await bed.network.detach(second.uid, limit());
    expect(await tracesOf(bed.identity)).toMatchObject({ tables: ['inet', 'bridge'], claims: [] });
    expect(await pings(bed.netnsOf(first), bed.subnet.gateway)).toBe(true);
  });

  test('carries guests without names where the name server can not start, and says why', async () => {
    const bed = await open();
    await bed.network.stop();
    const holder = createSocket('udp4').bind(53, bed.subnet.gateway);
    await once(holder, 'listening');
    try {
      const next = bed.again();
      await next.start([], limit());
      await next.attach(bed.request(0), limit());
      await eventually('the probe says why', async () => {
        const findings = await next.probe(limit());
        const finding = findings.find(({ name }) => name === 'network.dnsmasq');
        if (finding?.ok === false && finding.text.includes('in use')) return true;
        throw new Error(JSON.stringify(findings)); // shown when it never does
      });
    } finally {
      holder.close();
    }
  });

  test('starts its name server again when that one dies, with the names of all guests', async () => {
    const bed = await open({ watchMs: 50 });
    const guest = bed.request(0, { hostname: 'remembered' });
    await bed.network.attach(guest, limit());
    const first = nameServerOf(bed);
    await endProcess(first, 0);
    await eventually('another name server', () => {
      const now = nameServerOf(bed);
      return now && now.pid !== first.pid;
    });
    const { stdout } = await inside(
      bed.netnsOf(guest),
      'busybox',
      ...['nslookup', 'remembered.internal', bed.subnet.gateway],
    );
    expect(stdout).toContain(guest.address);
  });

  test('stops without taking anything from guests but the name server', async () => {
    const bed = await open();
    const guests = [bed.request(0), bed.request(1)];
    for (const guest of guests) await bed.network.attach(guest, limit());
    await bed.network.stop();
    expect((await tracesOf(bed.identity)).processes).toEqual([]);
    expect(await pings(bed.netnsOf(guests[0]!), guests[1]!.address)).toBe(true);
    const server = await serve(bed.netnsOf(guests[1]!), 80, 'still');
    try {
      const url = `http://${guests[1]!.address}/`;
      expect(await eventually('the guest answers', () => get(bed.netnsOf(guests[0]!), url))).toContain(
        'still',
      );
    } finally {
      await endServer(server);
    }
  });
});
