import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chance } from './chance.ts';
import { buildImage, Guest } from './guest.ts';
import { exchange, fetchOnce, metric, readAnswer, requestBytes } from './http-client.ts';
import {
  ACK,
  address,
  arp,
  ETHERTYPE_ARP,
  ethernet,
  FIN,
  icmpEcho,
  ip,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  RST,
  SYN,
  tcp,
  udp,
} from './packets.ts';
import { isReset, segment } from './peer.ts';

const SOURCE = `
  exports.handle = function (r) {
    if (r.path === '/big') return new Array(20001).join('0123456789');
    return r.body || 'empty';
  };`;

let guest: Guest;
beforeAll(async () => {
  buildImage();
  guest = await Guest.boot({ source: SOURCE });
});
afterAll(() => guest?.dispose());

const text = (length: number, seed: number): string => {
  const random = chance(seed);
  return Array.from({ length }, () => String.fromCharCode(97 + Math.floor(random() * 26))).join('');
};

describe('what the wire loses, doubles, reorders or damages is made good', () => {
  test.each([1, 2, 3])('both directions, seed %i', async (seed) => {
    guest.link.impair({ drop: 0.08, duplicate: 0.08, corrupt: 0.04, reorder: 0.25 }, seed);
    try {
      const sizes = [1, 1459, 1461, 9000, 40_000];
      await Promise.all(
        sizes.map(async (size) => {
          const client = await guest.peer.connect(8080, 20_000);
          for (let round = 0; round < 2; round++) {
            const body = text(size, seed * 100 + round);
            const answer = await exchange(client, '/', { body }, 25_000);
            expect(answer.body === body).toBe(true);
          }
          client.reset();
        }),
      );
    } finally {
      guest.link.impair({}, 1);
    }
  });

  test('a long answer over a wire that loses much', async () => {
    guest.link.impair({ drop: 0.15, reorder: 0.2 }, 7);
    try {
      const client = await guest.peer.connect(8080, 20_000);
      const answer = await exchange(client, '/big', {}, 30_000);
      expect(answer.body).toBe('0123456789'.repeat(20_000));
      client.reset();
    } finally {
      guest.link.impair({}, 1);
    }
  });

  test('segments in reverse order, and single bytes', async () => {
    const body = text(3000, 9);
    const bytes = requestBytes('/', { body });
    const client = await guest.peer.connect();
    const base = client.sendSequence;
    for (let at = Math.floor((bytes.length - 1) / 700) * 700; at >= 0; at -= 700)
      client.sendAt(base + at, bytes.subarray(at, at + 700));
    expect((await readAnswer(client)).body).toBe(body);
    client.skip(bytes.length);
    for (const byte of requestBytes('/', { body: 'slow' })) client.send(Buffer.from([byte]));
    expect((await readAnswer(client)).body).toBe('slow');
    client.end();
  });

  test('data that reaches the guest before the handshake ends is not refused', async () => {
    const client = await guest.peer.connect();
    client.end();
    const port = 39_000;
    const syn = guest.peer.nextSegment((s) => s.destinationPort === port && (s.flags & SYN) !== 0);
    guest.peer.sendSegment(segment(port, { seq: 1000, flags: SYN, mss: 1460 }));
    const ack = (await syn).seq + 1;
    const request = requestBytes('/', { body: 'second first' });
    const refused: boolean[] = [];
    const answer = guest.peer.nextSegment((s) => {
      if (s.destinationPort === port && isReset(s)) refused.push(true);
      return s.destinationPort === port && s.data.length > 0;
    });
    guest.peer.sendSegment(segment(port, { seq: 1001 + 20, ack, data: request.subarray(20) }));
    guest.peer.sendSegment(segment(port, { seq: 1001, ack, data: request.subarray(0, 20) }));
    guest.peer.sendSegment(segment(port, { seq: 1001 + 20, ack, data: request.subarray(20) }));
    expect((await answer).data.toString()).toMatch(/second first$/);
    expect(refused).toEqual([]);
    guest.peer.sendSegment(segment(port, { seq: 1001 + request.length, ack, flags: RST | ACK }));
  });
});

describe('a connection lives and ends as RFC 9293 says', () => {
  test('requests in one piece are answered in order on one connection', async () => {
    const client = await guest.peer.connect();
    client.send(Buffer.concat([1, 2, 3, 4, 5].map((n) => requestBytes('/', { body: `request ${n}` }))));
    for (const n of [1, 2, 3, 4, 5]) expect((await readAnswer(client)).body).toBe(`request ${n}`);
    client.end();
    await client.until(() => client.state === 'ended');
  });

  test('a client that has said all still gets its answer, then the end', async () => {
    const client = await guest.peer.connect();
    client.send(requestBytes('/big'));
    client.end();
    expect((await readAnswer(client)).body).toHaveLength(200_000);
    await client.until(() => client.state === 'ended');
  });

  test('Connection: close ends it from the guest', async () => {
    const client = await guest.peer.connect();
    expect((await exchange(client, '/', { headers: { Connection: 'close' } })).headers.connection).toBe(
      'close',
    );
    await client.until(() => client.state === 'ended');
    client.end();
  });

  test('a shut window stops the guest, which probes it, and goes on when it opens', async () => {
    const client = await guest.peer.connect();
    client.window = 5000;
    client.send(requestBytes('/big'));
    client.window = 0;
    await client.until(() => client.received.length >= 5000 || client.received.length > 0);
    client.setWindow(0);
    const held = client.received.length;
    const probe = await guest.peer.nextSegment(
      (s) => s.destinationPort === client.port && s.data.length === 1,
      5000,
    );
    expect(probe.data).toHaveLength(1);
    expect(client.received.length - held).toBeLessThanOrEqual(15_000);
    client.setWindow(65_535);
    expect((await readAnswer(client, { limitMs: 20_000 })).body).toBe('0123456789'.repeat(20_000));
    client.end();
  });

  test('a blind reset or SYN does not end it: wrong numbers are challenged, only the exact one counts', async () => {
    const client = await guest.peer.connect();
    const answered = () =>
      guest.peer.nextSegment((s) => s.destinationPort === client.port && s.flags === ACK);
    let challenge = answered();
    guest.peer.sendSegment(segment(client.port, { seq: client.sendSequence + 100, flags: RST }));
    await challenge;
    challenge = answered();
    guest.peer.sendSegment(segment(client.port, { seq: client.sendSequence, flags: SYN }));
    await challenge;
    expect((await exchange(client, '/', { body: 'still here' })).body).toBe('still here');
    client.reset();
    const late = guest.peer.nextSegment((s) => s.destinationPort === client.port && isReset(s));
    guest.peer.sendSegment(segment(client.port, { seq: client.sendSequence, data: Buffer.from('x') }));
    await late;
  });

  test('closed ports and unknown connections are refused', async () => {
    await expect(guest.peer.connect(81)).rejects.toThrow('connection refused');
    const reset = guest.peer.nextSegment((s) => s.destinationPort === 5555 && isReset(s));
    guest.peer.sendSegment(
      segment(5555, { seq: 1, ack: 77, flags: ACK, data: Buffer.from('GET / HTTP/1.1\r\n\r\n') }),
    );
    expect((await reset).seq).toBe(77);
    const unreachable = guest.peer.next(
      (p) => p.protocol === PROTOCOL_ICMP && p.payload[0] === 3 && p.payload[1] === 3,
    );
    const data = udp(guest.peer.ip, guest.peer.guestIp, 999, 53, Buffer.from('anyone?'));
    guest.peer.sendIp({ protocol: PROTOCOL_UDP, payload: data });
    await unreachable;
  });
});

describe('hostile traffic does no harm', () => {
  test('a flood of SYNs from many addresses takes nothing: open connections live, new ones are made', async () => {
    const client = await guest.peer.connect();
    const buffers = await metric(guest.peer, 'pebble_network_buffers_used_bytes');
    const random = chance(5);
    for (let i = 0; i < 20_000; i++) {
      const source = address('10.1.2.0') + 10 + Math.floor(random() * 200);
      guest.peer.sendSegment(segment(1024 + (i % 60_000), { seq: i, flags: SYN, mss: 1460 }), source);
      if (guest.link.congested) await guest.link.drained();
    }
    expect((await exchange(client, '/', { body: 'through the flood' })).body).toBe('through the flood');
    expect((await fetchOnce(guest.peer, '/', { body: 'new' })).body).toBe('new');
    expect(await metric(guest.peer, 'pebble_tcp_syn_total')).toBeGreaterThan(10_000);
    expect(await metric(guest.peer, 'pebble_network_buffers_used_bytes')).toBeLessThan(buffers + 65_536);
    client.end();
  });

  test('more connections than there are places: the idle ones give way', async () => {
    const clients = [];
    for (let i = 0; i < 150; i++) clients.push(await guest.peer.connect());
    expect((await fetchOnce(guest.peer, '/', { body: 'room for me' })).body).toBe('room for me');
    expect(await metric(guest.peer, 'pebble_tcp_evicted_total')).toBeGreaterThan(50);
    for (const client of clients) if (client.state === 'open') client.reset();
  });

  test('half a request on every place does not keep others out', async () => {
    const clients = [];
    for (let i = 0; i < 70; i++) {
      const client = await guest.peer.connect();
      client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\npart');
      clients.push(client);
    }
    expect((await fetchOnce(guest.peer, '/', { body: 'me too' }, 15_000)).body).toBe('me too');
    for (const client of clients) if (client.state === 'open') client.reset();
  });

  test('wrong checksums, fragments, other destinations and broken lengths are dropped', async () => {
    const send = (payload: Buffer) =>
      guest.link.send(ethernet(guest.peer.guestMac, guest.peer.mac, 0x0800, payload));
    const echo = (sequence: number) => ({
      source: guest.peer.ip,
      destination: guest.peer.guestIp,
      protocol: PROTOCOL_ICMP,
      payload: icmpEcho(1, sequence, Buffer.from('x')),
    });
    let replies = 0;
    guest.peer.onPacket = (p) => {
      if (p.protocol === PROTOCOL_ICMP && p.payload[0] === 0) replies++;
    };
    const damaged = ip(echo(1));
    damaged[10] = damaged[10]! ^ 1;
    send(damaged);
    const badIcmp = ip({
      ...echo(2),
      payload: Buffer.concat([icmpEcho(1, 2, Buffer.from('x')), Buffer.from('y')]),
    });
    send(badIcmp);
    send(ip({ ...echo(3), destination: address('10.1.2.9') }));
    send(ip({ ...echo(4), source: address('10.1.2.255') }));
    send(ip({ ...echo(5), source: guest.peer.guestIp }));
    const fragment = ip(echo(6));
    fragment[6] = 0x20;
    fragment.writeUInt16BE(0, 10);
    fragment.writeUInt16BE((fragment.readUInt16BE(10) + 0) & 0xffff, 10);
    send(fragment);
    for (let cut = 0; cut < 28; cut++) send(ip(echo(7)).subarray(0, cut));
    const badTcp = tcp(guest.peer.ip, guest.peer.guestIp, segment(4444, { seq: 1, flags: SYN }));
    badTcp[16] = badTcp[16]! ^ 1;
    send(
      ip({ source: guest.peer.ip, destination: guest.peer.guestIp, protocol: PROTOCOL_TCP, payload: badTcp }),
    );
    guest.link.send(
      ethernet(
        guest.peer.guestMac,
        guest.peer.mac,
        ETHERTYPE_ARP,
        arp(1, guest.peer.mac, 1, guest.peer.mac, 2).subarray(0, 20),
      ),
    );
    // Their order is kept: when this answer is here, all before it have been looked at.
    await guest.peer.ping(Buffer.from('last'), 99);
    expect(replies).toBe(1);
    const { body } = await fetchOnce(guest.peer, '/metrics');
    expect(body).toMatch(/reason="checksum"} [3-9]|reason="checksum"} \d\d/);
    guest.peer.onPacket = () => {};
  });

  test('flags that make no sense, and options that lie about their length, are survived', async () => {
    for (let flags = 0; flags < 64; flags++)
      guest.peer.sendSegment(segment(6000 + flags, { seq: 9, ack: 9, flags, data: Buffer.from('data') }));
    const lying = tcp(
      guest.peer.ip,
      guest.peer.guestIp,
      segment(6100, { seq: 1, flags: SYN | FIN, mss: 1460 }),
    );
    guest.peer.sendIp({ protocol: PROTOCOL_TCP, payload: lying });
    expect((await fetchOnce(guest.peer, '/', { body: 'well' })).body).toBe('well');
  });
});
