import type { ProcessRef } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AttachRequest } from './index.ts';
import { type Bed, endServer, get, inside, isRoot, limit, openBed, outsideHost, serve } from './test/bed.ts';

// Namespaces and nftables need root.
describe.skipIf(!isRoot)('two nodes in one network namespace', () => {
  const beds: Bed[] = [];
  const guests: AttachRequest[] = [];
  const servers: ProcessRef[] = [];
  beforeAll(async () => {
    for (const name of ['left', 'right']) {
      const bed = await openBed();
      beds.push(bed);
      const guest = bed.request(0);
      guests.push(guest);
      await bed.network.attach(guest, limit());
      servers.push(await serve(bed.netnsOf(guest), 80, name));
    }
  });
  afterAll(async () => {
    for (const server of servers) await endServer(server);
    for (const bed of beds) await bed.close();
  });
  const peer = (at: number) => [
    {
      ...{ node: `n${at}`, address: '192.0.2.1' },
      ...{ subnet: beds[at]!.subnet.cidr, subnet6: beds[at]!.subnet6.cidr },
    },
  ];
  const ask = (from: number, to: number) =>
    get(beds[from]!.netnsOf(guests[from]!), `http://${guests[to]!.address}/`);
  const ask6 = (from: number, to: number) =>
    get(beds[from]!.netnsOf(guests[from]!), `http://[${guests[to]!.address6}]/`);

  test('are walls to each other until they are peers; then guests see each other’s own address', async () => {
    expect(await ask(0, 1)).toBeUndefined();
    expect(await ask6(0, 1)).toBeUndefined();
    await beds[0]!.network.setPeers(peer(1), limit());
    await beds[1]!.network.setPeers(peer(0), limit());
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const body = await eventually('an answer', () => ask(from, to));
      expect(JSON.parse(body).from).toBe(guests[from]!.address);
      expect(JSON.parse((await ask6(from, to)) ?? '{}').from).toBe(guests[from]!.address6);
    }
  });

  test('each lead their own guests', async () => {
    const address = '10.190.3.3';
    const ports = [{ name: 'web', port: 80, protocol: 'tcp' as const, targetPort: 80 }];
    for (const [at, bed] of beds.entries()) {
      const backends = [{ uid: guests[at]!.uid, address: guests[at]!.address, tier: 0, open: true }];
      await bed.network.setServices([{ uid: 'web', names: [], address, ports, backends }], limit());
    }
    await beds[0]!.network.setServices(
      [
        {
          ...{ uid: 'web', names: [], address, ports },
          backends: [{ uid: guests[0]!.uid, address: guests[0]!.address, tier: 0, open: true }],
        },
      ],
      limit(),
    ); // it knows of the other by now
    for (const [at, name] of ['left', 'right'].entries()) {
      const body = await get(beds[at]!.netnsOf(guests[at]!), `http://${address}/`);
      expect(JSON.parse(body ?? '{}').name).toBe(name);
    }
  });

  test('another machine is no guest of a peer', async () => {
    const outside = await outsideHost();
    try {
      const { cidr } = beds[0]!.subnet;
      await inside(outside.netns, 'ip', 'route', 'add', cidr, 'via', outside.hostAddress);
      expect(await get(outside.netns, `http://${guests[0]!.address}/`)).toBeUndefined();
    } finally {
      await outside.close();
    }
  });
});
