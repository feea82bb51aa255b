/**
 * Ethernet, ARP, IPv4, ICMP, UDP and TCP as bytes: what the test peer builds and reads. Pure functions; addresses are
 * numbers, MAC addresses are buffers. Formats: RFC 826, 791, 792, 768, 9293.
 */
export const ETHERTYPE_IP = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

export interface Segment {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack: number;
  flags: number;
  window: number;
  mss?: number;
  data: Buffer;
}

export interface IpPacket {
  source: number;
  destination: number;
  protocol: number;
  payload: Buffer;
}

export function address(text: string): number {
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** One's complement sum of 16-bit words, complemented (RFC 1071). */
export function checksum(parts: Buffer[]): number {
  const data = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i + 1 < data.length; i += 2) sum += data.readUInt16BE(i);
  if (data.length % 2) sum += data[data.length - 1]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

function pseudoHeader(p: Omit<IpPacket, 'payload'>, length: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32BE(p.source, 0);
  header.writeUInt32BE(p.destination, 4);
  header[9] = p.protocol;
  header.writeUInt16BE(length, 10);
  return header;
}

export function ethernet(to: Buffer, from: Buffer, type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(14);
  to.copy(header, 0);
  from.copy(header, 6);
  header.writeUInt16BE(type, 12);
  return Buffer.concat([header, payload]);
}

export function arp(operation: 1 | 2, fromMac: Buffer, fromIp: number, toMac: Buffer, toIp: number): Buffer {
  const p = Buffer.alloc(28);
  Buffer.from([0, 1, 8, 0, 6, 4]).copy(p);
  p.writeUInt16BE(operation, 6);
  fromMac.copy(p, 8);
  p.writeUInt32BE(fromIp, 14);
  toMac.copy(p, 18);
  p.writeUInt32BE(toIp, 24);
  return p;
}

export function ip(packet: IpPacket): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + packet.payload.length, 2);
  header[8] = 64;
  header[9] = packet.protocol;
  header.writeUInt32BE(packet.source, 12);
  header.writeUInt32BE(packet.destination, 16);
  header.writeUInt16BE(checksum([header]), 10);
  return Buffer.concat([header, packet.payload]);
}

/** The packet in an Ethernet payload; undefined when its header is wrong (padding behind it is allowed). */
export function readIp(bytes: Buffer): IpPacket | undefined {
  if (bytes.length < 20 || bytes[0] !== 0x45 || checksum([bytes.subarray(0, 20)]) !== 0) return undefined;
  const total = bytes.readUInt16BE(2);
  if (total < 20 || total > bytes.length) return undefined;
  return {
    source: bytes.readUInt32BE(12),
    destination: bytes.readUInt32BE(16),
    protocol: bytes[9]!,
    payload: bytes.subarray(20, total),
  };
}

export function icmpEcho(id: number, sequence: number, data: Buffer): Buffer {
  const p = Buffer.alloc(8 + data.length);
  p[0] = 8;
  p.writeUInt16BE(id, 4);
  p.writeUInt16BE(sequence, 6);
  data.copy(p, 8);
  p.writeUInt16BE(checksum([p]), 2);
  return p;
}

export function udp(
  source: number,
  destination: number,
  fromPort: number,
  toPort: number,
  data: Buffer,
): Buffer {
  const p = Buffer.alloc(8 + data.length);
  p.writeUInt16BE(fromPort, 0);
  p.writeUInt16BE(toPort, 2);
  p.writeUInt16BE(p.length, 4);
  data.copy(p, 8);
  p.writeUInt16BE(checksum([pseudoHeader({ source, destination, protocol: PROTOCOL_UDP }, p.length), p]), 6);
  return p;
}

export function tcp(source: number, destination: number, s: Segment): Buffer {
  const options = s.mss === undefined ? Buffer.alloc(0) : Buffer.from([2, 4, s.mss >> 8, s.mss & 255]);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(s.sourcePort, 0);
  header.writeUInt16BE(s.destinationPort, 2);
  header.writeUInt32BE(s.seq >>> 0, 4);
  header.writeUInt32BE(s.ack >>> 0, 8);
  header[12] = ((20 + options.length) / 4) << 4;
  header[13] = s.flags;
  header.writeUInt16BE(s.window, 14);
  const length = 20 + options.length + s.data.length;
  const sum = checksum([
    pseudoHeader({ source, destination, protocol: PROTOCOL_TCP }, length),
    header,
    options,
    s.data,
  ]);
  header.writeUInt16BE(sum, 16);
  return Buffer.concat([header, options, s.data]);
}

/** The segment in an IP packet; undefined when it is malformed or its checksum is wrong. */
export function readTcp(packet: IpPacket): Segment | undefined {
  const p = packet.payload;
  const offset = p.length >= 20 ? (p[12]! >> 4) * 4 : 0;
  if (offset < 20 || offset > p.length || checksum([pseudoHeader(packet, p.length), p]) !== 0)
    return undefined;
  return {
    sourcePort: p.readUInt16BE(0),
    destinationPort: p.readUInt16BE(2),
    seq: p.readUInt32BE(4),
    ack: p.readUInt32BE(8),
    flags: p[13]!,
    window: p.readUInt16BE(14),
    data: p.subarray(offset),
  };
}
