/**
 * Throws damaged, invented and out-of-place frames at a guest, by a seed, for some seconds, asking now and then whether it
 * still answers. What it finds can be run again with the same seed.
 */
import { below, type Chance, chance, pick } from './chance.ts';
import type { Guest } from './guest.ts';
import { fetchOnce, metric, requestBytes } from './http-client.ts';
import {
  ACK,
  arp,
  ETHERTYPE_ARP,
  ETHERTYPE_IP,
  ethernet,
  FIN,
  icmpEcho,
  ip,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PSH,
  RST,
  SYN,
  tcp,
  udp,
} from './packets.ts';
import { type Peer, segment } from './peer.ts';
import type { TcpClient } from './tcp-client.ts';

const FRAMES_PER_ROUND = 1500;

function randomBytes(random: Chance, max: number): Buffer {
  return Buffer.from(Array.from({ length: below(random, max) }, () => below(random, 256)));
}

/** Changes some bytes, or cuts, or lengthens. */
function mutate(random: Chance, bytes: Buffer): Buffer {
  let out = Buffer.from(bytes);
  for (let n = below(random, 4); n >= 0; n--) {
    if (out.length)
      out[below(random, out.length)] = pick(random, [0, 1, 0x7f, 0x80, 0xff, below(random, 256)]);
  }
  if (random() < 0.15) out = out.subarray(0, below(random, out.length + 1));
  if (random() < 0.05) out = Buffer.concat([out, randomBytes(random, 200)]);
  return out;
}

const FRAGMENTS = [
  'GET / HTTP/1.1\r\n',
  'POST /readings HTTP/1.1\r\n',
  'Host: x\r\n',
  '\r\n',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  '5\r\nhello\r\n',
  '0\r\n\r\n',
  'temp\n1\n',
  '{"temp":1}',
  '\u0000',
  ':',
  ' ',
  '\n',
  'ffffffff\r\n',
  'Expect: 100-continue\r\n',
  'Content-Length: 999999999999\r\n',
];

function httpNoise(random: Chance): Buffer {
  const valid = requestBytes(
    pick(random, ['/', '/healthz', '/metrics', '/readings']),
    random() < 0.5 ? { body: pick(random, FRAGMENTS) } : {},
  );
  if (random() < 0.4) return mutate(random, valid);
  return Buffer.from(Array.from({ length: 1 + below(random, 6) }, () => pick(random, FRAGMENTS)).join(''));
}

/** A TCP segment: for a live connection with numbers near its own, or out of the blue. */
function segmentNoise(random: Chance, peer: Peer, client: TcpClient | undefined): Buffer {
  const flags =
    random() < 0.7 ? pick(random, [ACK, ACK | PSH, SYN, FIN | ACK, RST, SYN | ACK]) : below(random, 64);
  const near = client && random() < 0.7;
  const bytes = tcp(
    peer.ip,
    peer.guestIp,
    segment(near ? client.port : 1024 + below(random, 100), {
      seq: near
        ? client.sendSequence + pick(random, [0, 0, 0, 1, -1, 700, 8191, 8192, 100_000, -3000])
        : below(random, 2 ** 32),
      ack: near
        ? client.acknowledgement + pick(random, [0, 0, 0, 0, 1, -1, 1000, -70_000])
        : below(random, 2 ** 32),
      flags,
      window: pick(random, [0, 1, 536, 8192, 65_535]),
      data: random() < 0.6 ? httpNoise(random) : Buffer.alloc(0),
      ...(random() < 0.3 ? { mss: below(random, 65_536) } : {}),
    }),
  );
  return random() < 0.1 ? mutate(random, bytes) : bytes;
}

function frame(random: Chance, peer: Peer, client: TcpClient | undefined): Buffer {
  const wrap = (protocol: number, payload: Buffer) => {
    const packet = ip({ source: peer.ip, destination: peer.guestIp, protocol, payload });
    return ethernet(peer.guestMac, peer.mac, ETHERTYPE_IP, random() < 0.15 ? mutate(random, packet) : packet);
  };
  const kind = random();
  if (kind < 0.05) return randomBytes(random, 1600);
  if (kind < 0.1)
    return ethernet(
      peer.guestMac,
      peer.mac,
      pick(random, [ETHERTYPE_IP, ETHERTYPE_ARP, 0x86dd]),
      randomBytes(random, 300),
    );
  if (kind < 0.15)
    return mutate(
      random,
      ethernet(
        peer.guestMac,
        peer.mac,
        ETHERTYPE_ARP,
        arp(1, peer.mac, peer.ip, Buffer.alloc(6), peer.guestIp),
      ),
    );
  if (kind < 0.22) return wrap(PROTOCOL_ICMP, mutate(random, icmpEcho(1, 1, randomBytes(random, 1400))));
  if (kind < 0.27)
    return wrap(
      PROTOCOL_UDP,
      mutate(random, udp(peer.ip, peer.guestIp, 9, below(random, 65_536), randomBytes(random, 600))),
    );
  if (kind < 0.3) return wrap(below(random, 256), randomBytes(random, 100));
  return wrap(PROTOCOL_TCP, segmentNoise(random, peer, client));
}

export interface FuzzResult {
  frames: number;
  rounds: number;
  /** Network memory still in use when all is quiet again, bytes. */
  buffersLeft: number;
}

/** Whether the guest is deaf altogether or only to what failed. */
async function explain(guest: Guest, seed: number, round: number, error: Error): Promise<never> {
  const { peer } = guest;
  const said = async (what: string, ask: () => Promise<unknown>) =>
    `${what}: ${await ask().then(
      (answer) => String(answer).slice(0, 4000),
      (failure: Error) => failure.message,
    )}`;
  const more = [
    await said('ping', () => peer.ping(Buffer.from('alive'), 4243, 10_000)),
    await said('metrics', async () => (await fetchOnce(peer, '/metrics', {}, 10_000)).body.toString()),
    `exit status ${guest.exitStatus}`,
    `console: ${guest.console.slice(-2000)}`,
  ];
  throw new Error([`seed ${seed}, round ${round}: ${error.message}`, ...more].join('\n'));
}

/** Runs for `seconds`; throws when the guest stops answering. */
export async function fuzz(guest: Guest, seed: number, seconds: number): Promise<FuzzResult> {
  const random = chance(seed);
  const { peer, link } = guest;
  const end = performance.now() + seconds * 1000;
  let frames = 0;
  let rounds = 0;
  while (performance.now() < end) {
    const clients: TcpClient[] = [];
    for (let i = 0; i < 3; i++)
      clients.push(await peer.connect(8080, 120_000).catch((error) => explain(guest, seed, rounds, error)));
    for (let i = 0; i < FRAMES_PER_ROUND; i++, frames++) {
      const client = random() < 0.8 ? pick(random, clients) : undefined;
      if (client && client.state === 'open' && random() < 0.1) client.send(httpNoise(random));
      link.send(frame(random, peer, client));
      if (link.congested) await link.drained();
    }
    for (const client of clients) client.reset();
    const health = await fetchOnce(peer, '/healthz', {}, 120_000);
    if (health.status !== 200)
      throw new Error(`seed ${seed}, round ${rounds}: /healthz answered ${health.status}`);
    if (guest.exitStatus !== null)
      throw new Error(`seed ${seed}, round ${rounds}: the guest ended:\n${guest.console.slice(-2000)}`);
    rounds++;
  }
  return { frames, rounds, buffersLeft: await metric(peer, 'pebble_network_buffers_used_bytes') };
}
