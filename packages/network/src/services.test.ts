import { createInterface } from 'node:readline';
import { startInteractive } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NetworkService, ServiceBackend } from './index.ts';
import { get, inside, isRoot } from './test/bed.ts';
import { type Nodes, openNodes, type RemoteGuest, type RemoteNode } from './test/nodes.ts';

const VIRTUAL = '10.190.0.7';
const WEB = `http://${VIRTUAL}:8080/`;

const UDP = `
const s = require('node:dgram').createSocket('udp4');
const end = (text) => { process.stdout.write(text); process.exit(); };
s.on('error', (e) => end(e.code)); s.on('message', (m) => end(m.toString()));
s.connect(Number(process.argv[2]), process.argv[1], () => s.send('hello', (e) => e && end(e.code)));
setTimeout(() => end('nothing'), 2000);`;
const REFUSED = `
const from = performance.now();
require('node:net').connect(Number(process.argv[2]), process.argv[1])
  .on('connect', () => { process.stdout.write('connected'); process.exit(); })
  .on('error', (e) => process.stdout.write(e.code + ' ' + (performance.now() - from < 1000 ? 'at once' : 'late')));`;
const LOOKUP = `
const dns = new (require('node:dns').promises.Resolver)({ timeout: 1000, tries: 1 });
dns.setServers([process.argv[1]]);
dns.resolve4(process.argv[2]).then((all) => process.stdout.write(all.join()), (e) => process.stdout.write(e.code));`;
/** A request for every line, all on one connection. */
const KEEPS = `
const http = require('node:http');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let socket;
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  const request = http.get(process.argv[1], { agent, timeout: 3000 }, (response) => {
    let text = ''; response.on('data', (d) => { text += d; }); response.on('end', () => {
      const same = socket === undefined || socket === request.socket; socket = request.socket;
      console.log(same ? JSON.parse(text).name : 'another connection'); });
  });
  request.on('timeout', () => request.destroy(new Error('hangs')));
  request.on('error', (error) => console.log('lost'));
});`;

// Namespaces and nftables need root.
describe.skipIf(!isRoot)('services', () => {
  let bed: Nodes;
  let a: RemoteNode;
  let b: RemoteNode;
  let one: RemoteGuest;
  let two: RemoteGuest;
  let far: RemoteGuest;
  let plain: RemoteGuest;
  const backend = ({ uid, address }: RemoteGuest, tier: number, open = true): ServiceBackend =>
    ({ uid, address, tier, open }) as ServiceBackend;
  const service = (...backends: ServiceBackend[]): NetworkService => ({
    uid: 'web',
    names: ['web.default.edge'],
    address: VIRTUAL,
    ports: [
      { name: 'web', port: 8080, protocol: 'tcp', targetPort: 80 },
      { name: 'echo', port: 9, protocol: 'udp', targetPort: 80 },
    ],
    backends,
  });
  const script = async (netns: string | undefined, text: string, ...args: string[]) => {
    if (netns === bed.client.netns)
      return (await inside(netns, process.execPath, '-e', text, ...args)).stdout;
    const from = [one, two, far, plain].find((guest) => guest.netns === netns);
    return (await a.run(from, process.execPath, '-e', text, ...args)).stdout;
  };
  const nameOf = (body: string | undefined) =>
    body === undefined ? undefined : (JSON.parse(body) as { name: string; from: string });
  /** Who answers a client behind the node, a guest of it, and the node itself. */
  const answers = async () => ({
    client: nameOf(await get(bed.client.netns, WEB))?.name,
    guest: nameOf(await a.get(plain, WEB))?.name,
    node: nameOf(await a.get(undefined, WEB))?.name,
  });
  const all = <T>(value: T) => ({ client: value, guest: value, node: value });

  beforeAll(async () => {
    bed = await openNodes(['10.64.16.0/22', '10.64.20.0/22']);
    [a, b] = bed.nodes as [RemoteNode, RemoteNode];
    one = await a.attach(0, 80, 'one');
    two = await a.attach(1, 80, 'two');
    plain = await a.attach(2, 81, 'plain');
    far = await b.attach(0, 80, 'far');
    await a.setPeers([{ node: 'b', address: b.underlay, subnet: b.subnet }]);
    await b.setPeers([{ node: 'a', address: a.underlay, subnet: a.subnet }]);
    for (const guest of [one, two])
      await eventually('it answers', () => a.get(undefined, `http://${guest.address}/`));
    await eventually('it answers', () => b.get(undefined, `http://${far.address}/`));
  });
  afterAll(() => bed?.close());

  test('lead to the instance of the lowest tier, whoever asks, and tell it who asked where it is here', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await answers()).toEqual(all('one'));
    expect(nameOf(await get(bed.client.netns, WEB))?.from).toBe('198.19.0.2');
  });

  test('lead to another node where none is open here, and back again', async () => {
    await a.setServices([service(backend(one, 0, false), backend(far, 1))]);
    expect(await answers()).toEqual(all('far'));
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await answers()).toEqual(all('one'));
  });

  test('lead datagrams as well', async () => {
    await a.setServices([service(backend(far, 3))]);
    for (const netns of [bed.client.netns, plain.netns, undefined]) {
      expect(await script(netns, UDP, VIRTUAL, '9')).toBe('far hello');
    }
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    expect(await script(bed.client.netns, UDP, VIRTUAL, '9')).toBe('one hello');
  });

  test('are reached by their own instance, too', async () => {
    expect(nameOf(await a.get(one, WEB))?.name).toBe('one');
  });

  test('spread over those of one tier', async () => {
    await a.setServices([service(backend(one, 0), backend(two, 0), backend(far, 1))]);
    const seen = new Set<string | undefined>();
    // of 60 connections none to one of two: once in 10^18
    for (let asked = 0; asked < 60 && seen.size < 2; asked++)
      seen.add(nameOf(await a.get(undefined, WEB))?.name);
    expect([...seen].sort()).toEqual(['one', 'two']);
  });

  test('without an open instance are refused at once, as is a port that they do not have', async () => {
    await a.setServices([service(backend(one, 0, false))]);
    for (const netns of [bed.client.netns, plain.netns, undefined]) {
      expect(await script(netns, REFUSED, VIRTUAL, '8080')).toBe('ECONNREFUSED at once');
      expect(await script(netns, REFUSED, VIRTUAL, '22')).toBe('ECONNREFUSED at once');
      // the node itself hears of it from the very call that sends
      const refused = netns === undefined ? 'EPERM' : 'ECONNREFUSED';
      expect(await script(netns, UDP, VIRTUAL, '9')).toBe(refused);
    }
  });

  test('keep a connection with its instance until that is gone, over a restart of the program, too', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    const argv = ['netns', 'exec', bed.client.netns, process.execPath, '-e', KEEPS, WEB];
    const program = await startInteractive('ip', argv, {});
    try {
      const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
      const ask = async () => {
        program.input.write('\n');
        return (await lines.next()).value;
      };
      expect(await ask()).toBe('one');
      await a.setServices([service(backend(two, 0), backend(one, 0, false), backend(far, 1))]);
      expect(await ask()).toBe('one');
      expect(nameOf(await get(bed.client.netns, WEB))?.name).toBe('two');
      await a.setServices([service(backend(far, 1), backend(one, 0, false))]);
      expect(await ask()).toBe('one');
      await a.again([one, two, plain]);
      expect(await ask()).toBe('one');
      await a.setServices([service(backend(far, 1))]); // it has to find out by itself what there was
      expect(await ask()).toBe('lost'); // not `hangs`: the client learns of it with its next packet
      expect(await ask()).toBe('another connection');
      expect(nameOf(await get(bed.client.netns, WEB))?.name).toBe('far');
    } finally {
      program.kill();
    }
  });

  test('have names, for guests and for clients behind the node, and only those', async () => {
    const gateway = '10.64.16.1';
    for (const [netns, server] of [
      [plain.netns, gateway],
      [bed.client.netns, bed.client.gateway],
    ] as const) {
      const look = (name: string) => script(netns, LOOKUP, server, name);
      await eventually('the name', async () => (await look('web.default.edge')) === VIRTUAL);
      expect(await look('other.default.edge')).toBe('ENOTFOUND');
    }
    expect(await script(bed.client.netns, LOOKUP, bed.client.gateway, 'guest-0.internal')).toBe('ENOTFOUND');
    await a.setServices([{ ...service(), names: ['new.default.edge'], address: '10.190.0.8' }]);
    const look = (name: string) => script(bed.client.netns, LOOKUP, bed.client.gateway, name);
    await eventually('the new name', async () => (await look('new.default.edge')) === '10.190.0.8');
    expect(await look('web.default.edge')).toBe('ENOTFOUND');
  });

  test('are made anew with the next change when somebody took the rules away', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    await a.run(undefined, 'nft', 'flush', 'ruleset');
    const late = await a.attach(3, 80, 'late');
    expect(await answers()).toEqual(all('one'));
    await a.run(undefined, 'nft', 'flush', 'ruleset');
    await a.detach(late);
    expect(await answers()).toEqual(all('one'));
  });

  test('that are gone have no route and no rule', async () => {
    await a.setServices([]);
    const { stdout: routes } = await a.run(undefined, 'ip', 'route');
    expect(routes).not.toContain('10.190.');
    const { stdout: tables } = await a.run(undefined, 'nft', 'list', 'tables');
    expect(tables).not.toContain('table ip ');
  });

  test('nothing is left of them', async () => {
    await a.setServices([service(backend(one, 0), backend(far, 1))]);
    for (const node of [a, b]) {
      const traces = await node.close();
      for (const left of Object.values(traces)) expect(left).toEqual([]);
    }
  });
});
