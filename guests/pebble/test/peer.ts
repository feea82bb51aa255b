/**
 * The other end of the wire: a host with one address that answers ARP, sends pings, raw packets and segments, and opens
 * TCP connections (tcp-client.ts). Just large enough to be a fair partner, and a rude one on purpose.
 */
import type { Link } from './link.ts';
import {
  ACK,
  address,
  arp,
  ETHERTYPE_ARP,
  ETHERTYPE_IP,
  ethernet,
  type IpPacket,
  icmpEcho,
  ip,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  RST,
  readIp,
  readTcp,
  type Segment,
  tcp,
} from './packets.ts';
import { TcpClient } from './tcp-client.ts';

const FIRST_PORT = 20_000;
const LAST_PORT = 65_535;

export class Peer {
  readonly mac = Buffer.from([0x52, 0x54, 0, 1, 1, 1]);
  readonly ip = address('10.1.2.1');
  readonly guestIp: number;
  readonly guestMac: Buffer;
  readonly link: Link;
  /** Every IP packet the guest sends to us, before it is acted upon. */
  onPacket: (packet: IpPacket) => void = () => {};
  onArp: (payload: Buffer) => void = () => {};
  private readonly clients = new Map<number, TcpClient>();
  private nextPort = LAST_PORT;

  constructor(link: Link, guestMac: string, guestIp: string) {
    this.link = link;
    this.guestMac = Buffer.from(guestMac.replaceAll(':', ''), 'hex');
    this.guestIp = address(guestIp);
    link.onFrame = (frame) => this.take(frame);
  }

  /** Opens a connection; rejects when it is refused or `limitMs` pass. */
  connect(port = 8080, limitMs = 45_000): Promise<TcpClient> {
    const client = new TcpClient(this, this.freePort(), port);
    this.clients.set(client.port, client);
    return client.open(limitMs);
  }

  /** The ports of connections come round again; those that are in use are passed over. */
  private freePort(): number {
    if (this.clients.size > LAST_PORT - FIRST_PORT) throw new Error('every port has a connection');
    do {
      this.nextPort = this.nextPort === LAST_PORT ? FIRST_PORT : this.nextPort + 1;
    } while (this.clients.has(this.nextPort));
    return this.nextPort;
  }

  forget(client: TcpClient): void {
    this.clients.delete(client.port);
  }

  sendIp(packet: Omit<IpPacket, 'source' | 'destination'> & Partial<IpPacket>): void {
    const whole = { source: this.ip, destination: this.guestIp, ...packet };
    this.link.send(ethernet(this.guestMac, this.mac, ETHERTYPE_IP, ip(whole)));
  }

  sendSegment(segment: Segment, source = this.ip): void {
    this.sendIp({ source, protocol: PROTOCOL_TCP, payload: tcp(source, this.guestIp, segment) });
  }

  sendArp(operation: 1 | 2, toIp: number): void {
    const everyone = Buffer.alloc(6, 0xff);
    this.link.send(
      ethernet(everyone, this.mac, ETHERTYPE_ARP, arp(operation, this.mac, this.ip, Buffer.alloc(6), toIp)),
    );
  }

  /** Sends one echo request and waits for its answer; answers the payload that came back. */
  async ping(data: Buffer, sequence: number, limitMs = 3000): Promise<Buffer> {
    const answer = this.next(
      (p) => p.protocol === PROTOCOL_ICMP && p.payload[0] === 0 && p.payload.readUInt16BE(6) === sequence,
      limitMs,
    );
    this.sendIp({ protocol: PROTOCOL_ICMP, payload: icmpEcho(7, sequence, data) });
    return (await answer).payload.subarray(8);
  }

  /** The next packet from the guest that `wanted` accepts. */
  next(wanted: (packet: IpPacket) => boolean, limitMs = 3000): Promise<IpPacket> {
    const before = this.onPacket;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.onPacket = before;
        fail(new Error(`no such packet from the guest within ${limitMs} ms`));
      }, limitMs);
      this.onPacket = (packet) => {
        before(packet);
        if (!wanted(packet)) return;
        clearTimeout(timer);
        this.onPacket = before;
        done(packet);
      };
    });
  }

  nextSegment(wanted: (segment: Segment) => boolean, limitMs = 3000): Promise<Segment> {
    let found: Segment | undefined;
    const accept = (packet: IpPacket) => {
      const segment = packet.protocol === PROTOCOL_TCP ? readTcp(packet) : undefined;
      if (!segment || !wanted(segment)) return false;
      found = segment;
      return true;
    };
    return this.next(accept, limitMs).then(() => found!);
  }

  close(): void {
    for (const client of this.clients.values()) client.abandon();
  }

  private take(frame: Buffer): void {
    const type = frame.length >= 14 ? frame.readUInt16BE(12) : 0;
    const payload = frame.subarray(14);
    if (type === ETHERTYPE_ARP && payload.length >= 28) this.takeArp(payload);
    const packet = type === ETHERTYPE_IP ? readIp(payload) : undefined;
    if (!packet) return;
    this.onPacket(packet);
    const segment =
      packet.protocol === PROTOCOL_TCP && packet.destination === this.ip ? readTcp(packet) : undefined;
    if (!segment) return;
    const client = this.clients.get(segment.destinationPort);
    if (client) client.take(segment);
  }

  private takeArp(payload: Buffer): void {
    this.onArp(payload);
    if (payload.readUInt16BE(6) !== 1 || payload.readUInt32BE(24) !== this.ip) return;
    const answer = arp(2, this.mac, this.ip, payload.subarray(8, 14), payload.readUInt32BE(14));
    this.link.send(ethernet(payload.subarray(8, 14), this.mac, ETHERTYPE_ARP, answer));
  }
}

/** A segment from a port of ours with nothing but what matters to the test. */
export function segment(sourcePort: number, fields: Partial<Segment>): Segment {
  return {
    sourcePort,
    destinationPort: 8080,
    seq: 0,
    ack: 0,
    flags: ACK,
    window: 65_535,
    data: Buffer.alloc(0),
    ...fields,
  };
}

export function isReset(s: Segment): boolean {
  return (s.flags & RST) !== 0;
}
