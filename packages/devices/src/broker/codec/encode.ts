/** Packets of a broker to bytes. `version` 5 has properties and reason codes, the others have not. */
import { variableBytes, writeText, writeVariable } from './fields.ts';
import type { Properties, Publish, Qos } from './packets.ts';
import { encodeProperties } from './properties.ts';

function packet(header: number, parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const out = Buffer.allocUnsafe(1 + variableBytes(length) + length);
  out[0] = header;
  let at = writeVariable(out, length, 1);
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);

/** Return codes of 3.1.1, section 3.2.2.3, for reasons of 5.0. */
const OLD_REASONS: Readonly<Record<number, number>> = {
  0: 0,
  132: 1,
  133: 2,
  136: 3,
  134: 4,
  135: 5,
};
export function encodeConnack(
  version: number,
  sessionPresent: boolean,
  reason: number,
  properties?: Properties,
): Buffer {
  const head = [sessionPresent ? 1 : 0, version === 5 ? reason : (OLD_REASONS[reason] ?? 3)];
  return packet(
    0x20,
    version === 5 ? [Buffer.from(head), encodeProperties(properties)] : [Buffer.from(head)],
  );
}

export function encodePublish(
  version: number,
  message: Pick<Publish, 'topic' | 'payload' | 'retain' | 'dup'> & { qos: Qos; properties?: Properties },
  id: number,
): Buffer {
  const { topic, payload, qos, retain, dup } = message;
  const properties = version === 5 ? encodeProperties(message.properties) : undefined;
  const topicBytes = Buffer.byteLength(topic);
  const length = 2 + topicBytes + (qos > 0 ? 2 : 0) + (properties?.length ?? 0) + payload.length;
  const out = Buffer.allocUnsafe(1 + variableBytes(length) + length);
  out[0] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let at = writeText(out, topic, writeVariable(out, length, 1));
  if (qos > 0) at = out.writeUInt16BE(id, at);
  if (properties) {
    out.set(properties, at);
    at += properties.length;
  }
  out.set(payload, at);
  return out;
}

const HEADERS = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;
export function encodeAcknowledge(
  version: number,
  type: keyof typeof HEADERS,
  id: number,
  reason = 0,
): Buffer {
  const header = HEADERS[type];
  if (version === 5 && reason !== 0) return Buffer.from([header, 3, id >> 8, id & 255, reason]);
  return Buffer.from([header, 2, id >> 8, id & 255]);
}

export function encodeSuback(version: number, id: number, reasons: readonly number[]): Buffer {
  const codes = Buffer.from(version === 5 ? reasons : reasons.map((reason) => (reason > 2 ? 0x80 : reason)));
  return packet(0x90, version === 5 ? [u16(id), encodeProperties(undefined), codes] : [u16(id), codes]);
}
export function encodeUnsuback(version: number, id: number, reasons: readonly number[]): Buffer {
  return version === 5
    ? packet(0xb0, [u16(id), encodeProperties(undefined), Buffer.from(reasons)])
    : packet(0xb0, [u16(id)]);
}
export const PINGRESP = Buffer.from([0xd0, 0]);
/** 3.1.1 has none from the server. */
export const encodeDisconnect = (reason: number): Buffer => Buffer.from([0xe0, 1, reason]);
