import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inside, isRoot } from './test/bed.ts';
import { type Nodes, openNodes, type RemoteGuest, type RemoteNode } from './test/nodes.ts';

const peerOf = (node: RemoteNode, name: string) => ({
  node: name,
  address: node.underlay,
  subnet: node.subnet,
});

// Namespaces and VXLAN need root.
describe.skipIf(!isRoot)('the overlay', () => {
  let bed: Nodes;
  let a: RemoteNode;
  let b: RemoteNode;
  let guestA: RemoteGuest;
  let guestB: RemoteGuest;
  const ping = async (from: RemoteGuest | undefined, to: string, ...more: string[]) =>
    (await a.run(from, 'ping', '-n', '-c', '1', '-W', '1', ...more, to)).code === 0;
  beforeAll(async () => {
    bed = await openNodes(['10.64.8.0/22', '10.64.12.0/22']);
    [a, b] = bed.nodes as [RemoteNode, RemoteNode];
    guestA = await a.attach(0, 80, 'on-a');
    guestB = await b.attach(0, 80, 'on-b');
    await a.setPeers([peerOf(b, 'b')]);
    await b.setPeers([peerOf(a, 'a')]);
  });
  afterAll(() => bed?.close());

  test('a guest of one node reaches a guest of another, which sees its own address', async () => {
    const body = await a.get(guestA, `http://${guestB.address}/`);
    expect(JSON.parse(body ?? '{}')).toMatchObject({ name: 'on-b', from: guestA.address });
    const back = await b.get(guestB, `http://${guestA.address}/`);
    expect(JSON.parse(back ?? '{}')).toMatchObject({ name: 'on-a', from: guestB.address });
  });

  test('the node itself reaches guests of another', async () => {
    expect(await a.get(undefined, `http://${guestB.address}/`)).toContain('on-b');
  });

  test('what a guest may send fits: a megabyte arrives, and no packet is cut to pieces', async () => {
    const body = await a.get(guestA, `http://${guestB.address}/?bytes=1000000`);
    expect(body?.length).toBe(1_000_000);
    const { stdout } = await a.run(guestA, 'cat', '/sys/class/net/eth0/mtu');
    const mtu = Number(stdout);
    expect(await ping(guestA, guestB.address, '-M', 'do', '-s', String(mtu - 28))).toBe(true);
  });

  test('what is set again stays as it is, also by the program after this one', async () => {
    const look = async () => (await a.run(undefined, 'bridge', 'fdb', 'show', 'dev', `sk${a.id}ov`)).stdout;
    const before = await look();
    await a.setPeers([peerOf(b, 'b')]);
    expect(await look()).toBe(before);
    await a.again(); // which keeps no guest: its own guest is gone, the way to the peer is not
    expect(await look()).toBe(before);
    guestA = await a.attach(1, 80, 'on-a');
    expect(await a.get(guestA, `http://${guestB.address}/`)).toContain('on-b');
  });

  test('other machines do not get to a peer through a node, nor say that they are a guest of a peer', async () => {
    const { code } = await inside(bed.client.netns, 'ping', '-n', '-c', '1', '-W', '1', guestB.address);
    expect(code).not.toBe(0);
    await inside(bed.client.netns, 'ip', 'addr', 'add', `${guestB.address}/32`, 'dev', 'lo');
    const forged = await inside(
      bed.client.netns,
      ...(['ping', '-n', '-c', '1', '-W', '1', '-I', guestB.address, guestA.address] as const),
    );
    expect(forged.code).not.toBe(0);
    await inside(bed.client.netns, 'ip', 'addr', 'del', `${guestB.address}/32`, 'dev', 'lo');
  });

  test('frames of the overlay come from peers only, not from another machine and not from a guest', async () => {
    // a header with the VNI of b, then an Ethernet frame: it must not even leave the node
    const frame = `08000000${'0a400c00'}${'02760a400c01'}02760a40080188b5`;
    const send = `const s = require('node:dgram').createSocket('udp4'); s.send(Buffer.from('${frame}', 'hex'), 4789, '${b.underlay}', () => s.close());`;
    const seen = () => b.run(undefined, 'cat', `/sys/class/net/sk${b.id}ov/statistics/rx_packets`);
    const before = Number((await seen()).stdout);
    await inside(bed.client.netns, process.execPath, '-e', send);
    await a.run(guestA, process.execPath, '-e', send);
    expect(await ping(guestA, b.underlay)).toBe(true); // what was sent before is there, or nowhere
    expect(Number((await seen()).stdout)).toBe(before);
    await a.run(undefined, process.execPath, '-e', send); // the node may
    await eventually('the frame arrives', async () => Number((await seen()).stdout) === before + 1);
  });

  test('a node that is no peer any more is not reached, and does not reach', async () => {
    await a.setPeers([]);
    expect(await b.get(guestB, `http://${guestA.address}/`)).toBeUndefined();
    expect(await ping(guestA, guestB.address)).toBe(false);
    const { stdout } = await a.run(undefined, 'ip', 'route', 'show', 'dev', `sk${a.id}ov`);
    expect(stdout).toBe('');
    await a.setPeers([peerOf(b, 'b')]);
    expect(await a.get(guestA, `http://${guestB.address}/`)).toContain('on-b');
  });

  test('a peer whose subnet meets our own is refused by name', async () => {
    const twin = { node: 'twin', address: '198.18.0.9', subnet: a.subnet };
    await expect(a.setPeers([peerOf(b, 'b'), twin])).rejects.toThrow(/the peer "twin" .*this node/);
    expect(await a.get(guestA, `http://${guestB.address}/`)).toContain('on-b');
  });

  test('nothing is left of it', async () => {
    for (const node of [a, b]) {
      const traces = await node.close();
      for (const left of Object.values(traces)) expect(left).toEqual([]);
    }
  });
});
