/** Packets out of a stream of bytes. Never holds more than one packet of the permitted size, and what came with it. */
import { FieldReader } from './fields.ts';
import {
  type Acknowledge,
  type Connect,
  type Incoming,
  ProtocolError,
  type Publish,
  type Qos,
  REASON,
  type Subscribe,
  type Will,
} from './packets.ts';
import { readProperties } from './properties.ts';

const malformed = (what: string): never => {
  throw new ProtocolError(REASON.malformed, what);
};
const TYPE = { connect: 1, publish: 3, puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7 } as const;
const ACKNOWLEDGES = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' } as const;

const qosOf = (bits: number): Qos => (bits === 3 ? malformed('QoS 3') : (bits as Qos));

function readWill(reader: FieldReader, flags: number, version: number): Will {
  const properties = version === 5 ? readProperties(reader) : {};
  const topic = reader.text();
  const payload = Buffer.from(reader.binary());
  return { topic, payload, properties, qos: qosOf((flags >> 3) & 3), retain: (flags & 0x20) !== 0 };
}

function readConnect(reader: FieldReader): Connect {
  const name = reader.text();
  const version = reader.u8();
  const known = (name === 'MQTT' && (version === 4 || version === 5)) || (name === 'MQIsdp' && version === 3);
  if (!known) throw new ProtocolError(REASON.unsupportedVersion, `${name} ${version} is not spoken here`);
  const flags = reader.u8();
  if ((flags & 1) !== 0 || ((flags & 4) === 0 && (flags & 0x38) !== 0)) malformed('flags of CONNECT');
  const keepAliveSeconds = reader.u16();
  const properties = version === 5 ? readProperties(reader) : {};
  const clientId = reader.text();
  const will = (flags & 4) !== 0 ? readWill(reader, flags, version) : undefined;
  const username = (flags & 0x80) !== 0 ? reader.text() : undefined;
  const password = (flags & 0x40) !== 0 ? Buffer.from(reader.binary()) : undefined;
  if (reader.left > 0) malformed('CONNECT is too long');
  return {
    ...{ type: 'connect', version: version as 3 | 4 | 5, cleanStart: (flags & 2) !== 0, keepAliveSeconds },
    ...{ clientId, properties, ...(will && { will }) },
    ...{ ...(username !== undefined && { username }), ...(password && { password }) },
  };
}

function readPublish(reader: FieldReader, flags: number, version: number): Publish {
  const qos = qosOf((flags >> 1) & 3);
  const topic = reader.text();
  const id = qos > 0 ? reader.u16() : 0;
  if (qos > 0 && id === 0) malformed('the packet identifier is 0');
  const properties = version === 5 ? readProperties(reader) : undefined;
  const payload = reader.bytes(reader.left);
  return {
    ...{ type: 'publish', topic, payload, qos, id, retain: (flags & 1) !== 0, dup: (flags & 8) !== 0 },
    ...(properties && { properties }),
  };
}

function readAcknowledge(type: Acknowledge['type'], reader: FieldReader, version: number): Acknowledge {
  const id = reader.u16();
  const reason = version === 5 && reader.left > 0 ? reader.u8() : 0;
  if (version === 5 && reader.left > 0) readProperties(reader);
  if (reader.left > 0) malformed(`${type} is too long`);
  return { type, id, reason };
}

function readSubscribe(reader: FieldReader, version: number): Subscribe {
  const id = reader.u16();
  if (id === 0) malformed('the packet identifier is 0');
  const properties = version === 5 ? readProperties(reader) : {};
  const subscriptions: Subscribe['subscriptions'][number][] = [];
  while (reader.left > 0) {
    const filter = reader.text();
    const options = reader.u8();
    const retainHandling = (options >> 4) & 3;
    if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0 || retainHandling === 3)
      malformed('options of SUBSCRIBE');
    subscriptions.push({
      ...{ filter, qos: qosOf(options & 3), noLocal: (options & 4) !== 0 },
      ...{ retainAsPublished: (options & 8) !== 0, retainHandling: retainHandling as 0 | 1 | 2 },
    });
  }
  if (subscriptions.length === 0) throw new ProtocolError(REASON.protocolError, 'SUBSCRIBE without a filter');
  return { type: 'subscribe', id, subscriptions, properties };
}

function readPacket(header: number, reader: FieldReader, version: number): Incoming {
  const type = header >> 4;
  const flags = header & 15;
  const plain =
    type === TYPE.publish || flags === (type === TYPE.pubrel || type === 8 || type === 10 ? 2 : 0);
  if (!plain) malformed('flags of a packet');
  switch (type) {
    case 1:
      return readConnect(reader);
    case 3:
      return readPublish(reader, flags, version);
    case 4:
    case 5:
    case 6:
    case 7:
      return readAcknowledge(ACKNOWLEDGES[type], reader, version);
    case 8:
      return readSubscribe(reader, version);
    case 10: {
      const id = reader.u16();
      if (version === 5) readProperties(reader);
      const filters: string[] = [];
      while (reader.left > 0) filters.push(reader.text());
      if (filters.length === 0) throw new ProtocolError(REASON.protocolError, 'UNSUBSCRIBE without a filter');
      return { type: 'unsubscribe', id, filters };
    }
    case 12:
      return { type: 'pingreq' };
    case 14: {
      const reason = version === 5 && reader.left > 0 ? reader.u8() : 0;
      const properties = version === 5 && reader.left > 0 ? readProperties(reader) : {};
      return { type: 'disconnect', reason, properties };
    }
    case 15:
      return { type: 'auth' };
    default:
      return malformed(`a packet of type ${type}`);
  }
}

export class PacketReader {
  readonly #limitBytes: number;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Of the packet that is under way, header included; 0: not known yet. */
  #needBytes = 0;
  /** Set by the CONNECT. */
  version: 3 | 4 | 5 = 4;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Gives each packet that is whole to `take`, in order, until it says false; what is left is kept. Errors: ProtocolError. */
  push(chunk: Buffer, take: (packet: Incoming) => void): void {
    if (this.#heldBytes > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      if (this.#heldBytes < this.#needBytes) return;
    }
    let bytes = this.#heldBytes > 0 ? Buffer.concat(this.#held, this.#heldBytes) : chunk;
    this.#held = [];
    this.#heldBytes = 0;
    let at = 0;
    while (at < bytes.length) {
      const end = this.#endOf(bytes, at);
      if (end === undefined || end > bytes.length) break;
      const from = this.#bodyAt;
      const packet = readPacket(bytes[at]!, new FieldReader(bytes, from, end), this.version);
      if (packet.type === 'connect') this.version = packet.version;
      at = end;
      take(packet);
    }
    if (at < bytes.length) {
      // A copy: a little of a large buffer must not keep all of it.
      bytes = Buffer.from(bytes.subarray(at));
      this.#needBytes = this.#endOf(bytes, 0) ?? 0;
      this.#held = [bytes];
      this.#heldBytes = bytes.length;
    }
  }

  #bodyAt = 0;
  #endOf(bytes: Buffer, at: number): number | undefined {
    let [length, factor] = [0, 1];
    for (let index = 1; index <= 4; index++) {
      const byte = bytes[at + index];
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * factor;
      if ((byte & 0x80) === 0) {
        if (length > this.#limitBytes)
          throw new ProtocolError(REASON.tooLarge, `a packet of ${length} bytes`);
        this.#bodyAt = at + index + 1;
        return this.#bodyAt + length;
      }
      factor *= 128;
    }
    return malformed('a length has more than four bytes');
  }
}
