import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ipBatch, type ProcessRef } from '@skerry/host';
import type { BitsPerSecond } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AttachRequest } from './index.ts';
import {
  type Bed,
  endServer,
  get,
  inside,
  isRoot,
  limit,
  type Outside,
  openBed,
  outsideHost,
  serve,
} from './test/bed.ts';

/** Bound for a moment only, so that two runs on one machine do not meet; below the range of ephemeral ports. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '0.0.0.0');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function ask(url: string): Promise<{ name: string; from: string }> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2000), headers: { connection: 'close' } });
  return (await response.json()) as { name: string; from: string };
}

async function askUdp(port: number, address: string): Promise<string> {
  const socket = createSocket('udp4');
  try {
    socket.send('hello', port, address);
    const [message] = (await once(socket, 'message', { signal: AbortSignal.timeout(2000) })) as [Buffer];
    return message.toString();
  } finally {
    socket.close();
  }
}

// Namespaces and nftables need root.
describe.skipIf(!isRoot)('published ports', () => {
  let bed: Bed;
  let outside: Outside;
  let guest: AttachRequest;
  let neighbour: AttachRequest;
  let server: ProcessRef;
  let port: number;
  beforeAll(async () => {
    bed = await openBed();
    outside = await outsideHost();
    port = await freePort();
    guest = bed.request(0, {
      ports: [
        { name: 'web', port: 80, protocol: 'tcp', publish: port },
        { name: 'echo', port: 80, protocol: 'udp', publish: port },
      ],
    });
    neighbour = bed.request(1);
    await bed.network.attach(guest, limit());
    await bed.network.attach(neighbour, limit());
    server = await serve(bed.netnsOf(guest), 80, 'web-0');
    await eventually('the server answers', () => ask(`http://${guest.address}/`));
  });
  afterAll(async () => {
    if (server) await endServer(server);
    await outside?.close();
    await bed?.close();
  });

  test('lead to the guest by IPv6, too, from the host, from others and from guests, but not by ::1', async () => {
    expect(await ask(`http://[${outside.hostAddress6}]:${port}/`)).toMatchObject({ name: 'web-0' });
    const from = async (netns: string, address: string) =>
      JSON.parse((await get(netns, `http://[${address}]:${port}/`)) ?? '{}') as { from?: string };
    // whose address the guest sees; it reaches nothing else of it
    expect((await from(outside.netns, outside.hostAddress6)).from).toBe(outside.address6);
    expect((await from(bed.netnsOf(neighbour), bed.subnet6.gateway)).from).toBeDefined();
    expect((await from(bed.netnsOf(guest), bed.subnet6.gateway)).from).toBeDefined();
    await expect(ask(`http://[::1]:${port}/`)).rejects.toThrow();
    const route = `route add ${bed.subnet6.cidr} via ${outside.hostAddress6}`;
    expect(await ipBatch([route], limit(), outside.netns)).toEqual([]);
    expect(await get(outside.netns, `http://[${guest.address6}]/`)).toBeUndefined();
  });

  test('lead to the guest from loopback and from an address of the host', async () => {
    expect(await ask(`http://127.0.0.1:${port}/`)).toMatchObject({ name: 'web-0' });
    expect(await ask(`http://${outside.hostAddress}:${port}/`)).toMatchObject({ name: 'web-0' });
    expect(await askUdp(port, '127.0.0.1')).toBe('web-0 hello');
    expect(await askUdp(port, outside.hostAddress)).toBe('web-0 hello');
  });

  test('lead to the guest from another machine, which it sees by its own address', async () => {
    const body = await get(outside.netns, `http://${outside.hostAddress}:${port}/`);
    expect(JSON.parse(body ?? '{}')).toMatchObject({ name: 'web-0', from: outside.address });
  });

  test('lead to the guest from its neighbour and from itself', async () => {
    for (const from of [neighbour, guest]) {
      const body = await get(bed.netnsOf(from), `http://${outside.hostAddress}:${port}/`);
      expect(JSON.parse(body ?? '{}')).toMatchObject({ name: 'web-0' });
    }
  });

  test('other machines reach a guest by its published ports only', async () => {
    await inside(outside.netns, 'ip', 'route', 'add', bed.subnet.cidr, 'via', outside.hostAddress);
    expect(await get(outside.netns, `http://${guest.address}/`)).toBeUndefined();
  });

  test('guests reach the outside by an address of the host', async () => {
    const target = await serve(outside.netns, 8080, 'outside');
    try {
      const url = `http://${outside.address}:8080/`;
      const body = await eventually('the outside answers', () => get(bed.netnsOf(guest), url));
      expect(JSON.parse(body)).toMatchObject({ name: 'outside', from: outside.hostAddress });
    } finally {
      await endServer(target);
    }
  });

  test('a port that another guest publishes is refused by name, and nothing is left', async () => {
    const late = bed.request(2, {
      ports: [
        { name: 'free', port: 1, protocol: 'tcp', publish: await freePort() },
        { name: 'web', port: 80, protocol: 'tcp', publish: port },
      ],
    });
    await expect(bed.network.attach(late, limit())).rejects.toMatchObject({
      code: 'port_taken',
      message: expect.stringContaining(`${port} of this node is taken: the guest guest-0`),
      details: { port, protocol: 'tcp', by: guest.uid },
    });
    expect(await bed.network.counters(late.uid)).toBeUndefined();
    const freed = { ...late, ports: late.ports.slice(0, 1) };
    await bed.network.attach(freed, limit()); // the first of its ports was given back
    await bed.network.detach(late.uid, limit());
  });

  test('a port that a program of the host listens on is refused, with the name of the program', async () => {
    const listener = createServer().listen(0, '127.0.0.1');
    const udp = createSocket('udp4').bind(0);
    await Promise.all([once(listener, 'listening'), once(udp, 'listening')]);
    try {
      const held = { tcp: (listener.address() as { port: number }).port, udp: udp.address().port };
      for (const protocol of ['tcp', 'udp'] as const) {
        const late = bed.request(3, { ports: [{ name: 'p', port: 1, protocol, publish: held[protocol] }] });
        await expect(bed.network.attach(late, limit())).rejects.toMatchObject({
          code: 'port_taken',
          message: expect.stringContaining(`process ${process.pid}`),
        });
      }
    } finally {
      listener.close();
      udp.close();
    }
  });

  test('a changed list of ports takes effect without a new interface', async () => {
    const [first, second] = [await freePort(), await freePort()];
    const publish = (at: number) => [{ name: 'web', port: 80, protocol: 'tcp' as const, publish: at }];
    await bed.network.attach({ ...guest, ports: publish(first) }, limit());
    expect(await ask(`http://127.0.0.1:${first}/`)).toMatchObject({ name: 'web-0' });
    await bed.network.attach({ ...guest, ports: publish(second) }, limit());
    expect(await ask(`http://127.0.0.1:${second}/`)).toMatchObject({ name: 'web-0' });
    await expect(ask(`http://127.0.0.1:${first}/`)).rejects.toThrow();
    await bed.network.attach(guest, limit());
    expect(await ask(`http://127.0.0.1:${port}/`)).toMatchObject({ name: 'web-0' });
  });

  test('bandwidth of a guest is held in both directions', async () => {
    const bps = 16_000_000;
    const bytes = 2_000_000; // one second at the limit
    const timed = async (init: RequestInit, path: string) => {
      const from = performance.now();
      await (await fetch(`http://${guest.address}${path}`, init)).arrayBuffer();
      return (bytes * 8) / ((performance.now() - from) / 1000);
    };
    const upload = () => timed({ method: 'POST', body: Buffer.alloc(bytes) }, '/');
    const download = () => timed({}, `/?bytes=${bytes}`);
    expect(await upload()).toBeGreaterThan(2 * bps); // without a limit
    const limited = { ...guest, bandwidth: { inBps: bps as BitsPerSecond, outBps: bps as BitsPerSecond } };
    await bed.network.attach(limited, limit());
    await bed.network.attach(limited, limit());
    for (const rate of [await upload(), await download()]) {
      expect(rate).toBeLessThan(1.15 * bps); // headers and the burst at the start go on top
      expect(rate).toBeGreaterThan(0.5 * bps);
    }
    await bed.network.attach(guest, limit());
    expect(await download()).toBeGreaterThan(2 * bps);
  });
});
