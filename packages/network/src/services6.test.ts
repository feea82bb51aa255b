import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NetworkService, OverlayPeer, ServiceBackend } from './index.ts';
import { get, inside, isRoot } from './test/bed.ts';
import { CLIENT_LINK6, type Nodes, openNodes, type RemoteGuest, type RemoteNode } from './test/nodes.ts';

const VIRTUAL = 'fdd2:6dd7:ba15:1::abe:7';
const WEB = `http://[${VIRTUAL}]:8080/`;
const CLIENT = `${CLIENT_LINK6}2`;
const REFUSED = `
const from = performance.now();
require('node:net').connect(8080, process.argv[1])
  .on('connect', () => { process.stdout.write('connected'); process.exit(); })
  .on('error', (e) => process.stdout.write(e.code + ' ' + (performance.now() - from < 1000 ? 'at once' : 'late')));`;
const LOOKUP = `
const dns = new (require('node:dns').promises.Resolver)({ timeout: 1000, tries: 1 });
dns.setServers([process.argv[1]]);
dns.resolve6(process.argv[2]).then((all) => process.stdout.write(all.join()), (e) => process.stdout.write(e.code));`;

const peerOf = (node: RemoteNode, name: string): OverlayPeer => ({
  ...{ node: name, address: node.underlay, subnet: node.subnet, subnet6: node.subnet6 },
});

// Namespaces, VXLAN and nftables need root.
describe.skipIf(!isRoot)('over IPv6', () => {
  let bed: Nodes;
  let a: RemoteNode;
  let b: RemoteNode;
  let one: RemoteGuest;
  let far: RemoteGuest;
  let plain: RemoteGuest;
  const backend = ({ uid, address, address6 }: RemoteGuest, tier: number, open = true): ServiceBackend =>
    ({ uid, address, address6, tier, open }) as ServiceBackend;
  /** As of a guest that has no IPv6. */
  const only4 = ({ address6: _, ...rest }: ServiceBackend): ServiceBackend => rest;
  const service = (...backends: ServiceBackend[]): NetworkService => ({
    uid: 'web',
    names: ['web.default.edge'],
    address: '10.190.0.7',
    address6: VIRTUAL,
    ports: [{ name: 'web', port: 8080, protocol: 'tcp', targetPort: 80 }],
    backends,
  });
  const nameOf = (body: string | undefined) =>
    body === undefined ? undefined : (JSON.parse(body) as { name: string; from: string });
  /** Who answers a client behind the node, a guest of it, and the node itself. */
  const answers = async () => ({
    client: nameOf(await get(bed.client.netns, WEB))?.name,
    guest: nameOf(await a.get(plain, WEB))?.name,
    node: nameOf(await a.get(undefined, WEB))?.name,
  });
  const all = <T>(value: T) => ({ client: value, guest: value, node: value });
  const ping = async (from: RemoteGuest, to: string, ...more: string[]) =>
    (await a.run(from, 'ping', '-n', '-c', '1', '-W', '1', ...more, to)).code === 0;

  beforeAll(async () => {
    bed = await openNodes(['10.64.48.0/22', '10.64.52.0/22']);
    [a, b] = bed.nodes as [RemoteNode, RemoteNode];
    one = await a.attach(0, 80, 'one');
    plain = await a.attach(1, 81, 'plain');
    far = await b.attach(0, 80, 'far');
    await a.setPeers([peerOf(b, 'b')]);
    await b.setPeers([peerOf(a, 'a')]);
    await eventually('it answers', () => a.get(undefined, `http://${one.address}/`));
    await eventually('it answers', () => b.get(undefined, `http://${far.address}/`));
  });
  afterAll(() => bed?.close());

  test('a guest of one node reaches a guest of another, which sees its own address', async () => {
    expect(nameOf(await a.get(plain, `http://[${far.address6}]/`))).toEqual(
      expect.objectContaining({ name: 'far', from: plain.address6 }),
    );
    expect(nameOf(await b.get(far, `http://[${one.address6}]/`))?.from).toBe(far.address6);
    expect(nameOf(await a.get(undefined, `http://[${far.address6}]/`))?.name).toBe('far');
  });

  test('a megabyte arrives, and what a guest may send fits', async () => {
    expect((await a.get(plain, `http://[${far.address6}]/?bytes=1000000`))?.length).toBe(1_000_000);
    const { stdout } = await a.run(plain, 'cat', '/sys/class/net/eth0/mtu');
    expect(await ping(plain, far.address6, '-M', 'do', '-s', String(Number(stdout) - 48))).toBe(true);
  });

  test('other machines do not get to a peer through a node, nor say that they are a guest of a peer', async () => {
    const from = async (source: string, to: string) =>
      (await inside(bed.client.netns, 'ping', '-n', '-c', '1', '-W', '1', '-I', source, to)).code;
    expect(await from(CLIENT, far.address6)).not.toBe(0);
    expect(await from(CLIENT, one.address6)).not.toBe(0);
    await inside(bed.client.netns, 'ip', 'addr', 'add', `${far.address6}/128`, 'dev', 'lo', 'nodad');
    expect(await from(far.address6, one.address6)).not.toBe(0);
    await inside(bed.client.netns, 'ip', 'addr', 'del', `${far.address6}/128`, 'dev', 'lo');
  });

  test('a service leads to the instance of the lowest tier, whoever asks', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await answers()).toEqual(all('one'));
    expect(nameOf(await get(bed.client.netns, WEB))?.from).toBe(CLIENT);
    expect(nameOf(await a.get(one, WEB))?.name).toBe('one'); // its own instance, too
  });

  test('an instance that is not well receives no more, nor does one that has IPv4 only', async () => {
    await a.setServices([service(backend(one, 0, false), backend(far, 1))]);
    expect(await answers()).toEqual(all('far'));
    await a.setServices([service(only4(backend(one, 0)), backend(far, 1))]);
    expect(await answers()).toEqual(all('far'));
    expect(nameOf(await a.get(plain, 'http://10.190.0.7:8080/'))?.name).toBe('one');
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await answers()).toEqual(all('one'));
  });

  test('without an open instance a connection is refused at once', async () => {
    await a.setServices([service(backend(one, 0, false))]);
    for (const from of [plain, undefined])
      expect((await a.run(from, process.execPath, '-e', REFUSED, VIRTUAL)).stdout).toBe(
        'ECONNREFUSED at once',
      );
    const { stdout } = await inside(bed.client.netns, process.execPath, '-e', REFUSED, VIRTUAL);
    expect(stdout).toBe('ECONNREFUSED at once');
  });

  test('it has an address of IPv6 under its name where an instance has one, and none otherwise', async () => {
    const look = async () =>
      (await inside(bed.client.netns, process.execPath, '-e', LOOKUP, bed.client.gateway, 'web.default.edge'))
        .stdout;
    await a.setServices([service(backend(one, 0))]);
    await eventually('the name', async () => (await look()) === VIRTUAL);
    await a.setServices([service(only4(backend(one, 0)))]);
    await eventually('no such name', async () => (await look()) === 'ENODATA');
    const { stdout } = await a.run(undefined, 'ip', '-6', 'route');
    expect(stdout).not.toContain(VIRTUAL);
  });

  test('connections to an instance that is gone end, over a restart of the program, too', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await answers()).toEqual(all('one'));
    const led = async () => (await a.run(undefined, 'conntrack', '-L', '-f', 'ipv6', '--dst-nat')).stdout;
    expect(await led()).toContain(one.address6);
    await a.again([one, plain]);
    await a.setServices([service(backend(far, 1))]);
    expect(await led()).not.toContain(`src=${one.address6}`);
    expect(await answers()).toEqual(all('far'));
  });

  test('a guest opens nothing to the outside by it that it has not by IPv4: clients do not reach it', async () => {
    expect(await get(bed.client.netns, `http://[${one.address6}]/`)).toBeUndefined();
    const asked = await a.run(plain, 'ping', '-n', '-c', '1', '-W', '1', CLIENT);
    expect(asked.code).toBe(0); // outwards it goes in the name of the node
  });

  test('a node that is no peer any more is not reached', async () => {
    await a.setServices([]);
    await a.setPeers([]);
    expect(await ping(plain, far.address6)).toBe(false);
    const { stdout } = await a.run(undefined, 'ip', '-6', 'route', 'show', 'dev', `sk${a.id}ov`);
    expect(stdout.trim()).toBe('');
    await a.setPeers([peerOf(b, 'b')]);
    expect(await ping(plain, far.address6)).toBe(true);
  });

  test('a peer whose subnet is our own is refused by name', async () => {
    const twin = { ...peerOf(b, 'twin'), subnet: '10.64.60.0/22', subnet6: a.subnet6 };
    await expect(a.setPeers([peerOf(b, 'b'), twin])).rejects.toThrow(/the peer "twin" .*this node/);
  });

  test('the node forwards, and what its other interfaces are set to stays: one that listens to a router goes on to', async () => {
    const read = async (...settings: string[]) =>
      (await a.run(undefined, 'sysctl', '-n', ...settings.map((one) => `net.ipv6.conf.${one}`))).stdout.split(
        '\n',
      );
    expect((await read('all.forwarding'))[0]).toBe('1');
    const others = ['eth0', 'eth1', 'default'].flatMap((name) => [`${name}.forwarding`, `${name}.accept_ra`]);
    expect((await read(...others)).slice(0, 6)).toEqual(['0', '1', '0', '1', '0', '1']);
    expect((await read(`sk${a.id}br.accept_ra`, `sk${a.id}ov.accept_ra`)).slice(0, 2)).toEqual(['0', '0']);
  });

  test('where the administrator turns it off there is none, and all else goes on; and there is again when it is on', async () => {
    const turn = (value: string) =>
      a.run(undefined, 'sysctl', '-q', '-w', `net.ipv6.conf.default.disable_ipv6=${value}`);
    const start = async () => {
      await a.again([one, plain]);
      await a.setPeers([peerOf(b, 'b')]);
      await a.setServices([service(backend(one, 0), backend(far, 1))]);
    };
    await turn('1');
    await start();
    expect(await answers()).toEqual(all(undefined));
    expect(await ping(plain, one.address6)).toBe(false);
    expect(nameOf(await a.get(plain, 'http://10.190.0.7:8080/'))?.name).toBe('one');
    expect(nameOf(await a.get(plain, `http://${far.address}/`))?.name).toBe('far');
    expect((await a.run(undefined, 'ip', '-6', 'route')).stdout).not.toContain('fd');
    await turn('0');
    await start();
    expect(await answers()).toEqual(all('one'));
    expect(nameOf(await a.get(plain, `http://[${far.address6}]/`))?.name).toBe('far');
  });

  test('nothing is left of it', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    for (const node of [a, b]) {
      const traces = await node.close();
      for (const left of Object.values(traces)) expect(left).toEqual([]);
      expect((await inside(node.netns, 'ip', '-6', 'route')).stdout).not.toContain('fd');
    }
  });
});
