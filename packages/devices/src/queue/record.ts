/**
 * Records as they lie in a segment: `A5 5A`, length of the body (4 bytes), CRC-32 of it (4), then the body; little endian. A
 * body begins with its kind: an entry, a mark, or how far all is acknowledged. By the two first bytes and the checksum
 * what follows a damaged stretch is found again.
 */
import { crc32 } from 'node:zlib';
import type { QueueEntry, StoredEntry } from '../ports.ts';

const MAGIC = 0x5aa5;
export const HEADER_BYTES = 10;
/** A length beyond it is damage. MQTT's longest packet has 256 MB; the broker takes none of that size. */
export const BODY_LIMIT_BYTES = 64 * 2 ** 20;
const KIND = { entry: 1, mark: 2, acknowledged: 3 } as const;
/** Kind, position, moment, priority, length of the id and of the key. */
const ENTRY_HEAD_BYTES = 1 + 8 + 8 + 1 + 1 + 2;

export type QueueRecord =
  | { readonly kind: 'entry'; readonly entry: StoredEntry }
  | { readonly kind: 'mark'; readonly name: string; readonly value: unknown }
  | { readonly kind: 'acknowledged'; readonly upTo: number };

function framed(bodyBytes: number): Buffer {
  const record = Buffer.allocUnsafe(HEADER_BYTES + bodyBytes);
  record.writeUInt16LE(MAGIC, 0);
  record.writeUInt32LE(bodyBytes, 2);
  return record;
}
function sealed(record: Buffer): Buffer {
  record.writeUInt32LE(crc32(record.subarray(HEADER_BYTES)), 6);
  return record;
}

/** Bytes that an entry takes on the disk. Errors: RangeError where its id has over 255 bytes or its key over 65,535. */
export function encodeEntry(entry: QueueEntry, position: number): Buffer {
  const [idBytes, keyBytes] = [Buffer.byteLength(entry.id), Buffer.byteLength(entry.key)];
  if (idBytes > 255 || keyBytes > 65_535) throw new RangeError('the id or the key of a message is too long');
  const record = framed(ENTRY_HEAD_BYTES + idBytes + keyBytes + entry.data.length);
  let at = record.writeUInt8(KIND.entry, HEADER_BYTES);
  at = record.writeDoubleLE(position, at);
  at = record.writeDoubleLE(entry.atMs, at);
  at = record.writeUInt8(entry.priority, at);
  at = record.writeUInt8(idBytes, at);
  at = record.writeUInt16LE(keyBytes, at);
  at += record.write(entry.id, at);
  at += record.write(entry.key, at);
  record.set(entry.data, at);
  return sealed(record);
}

export function encodeMark(name: string, value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify([name, value]));
  const record = framed(1 + body.length);
  record.writeUInt8(KIND.mark, HEADER_BYTES);
  record.set(body, HEADER_BYTES + 1);
  return sealed(record);
}

export function encodeAcknowledged(upTo: number): Buffer {
  const record = framed(9);
  record.writeUInt8(KIND.acknowledged, HEADER_BYTES);
  record.writeDoubleLE(upTo, HEADER_BYTES + 1);
  return sealed(record);
}

function bodyOf(body: Buffer): QueueRecord | undefined {
  const kind = body[0];
  if (kind === KIND.acknowledged && body.length === 9)
    return { kind: 'acknowledged', upTo: body.readDoubleLE(1) };
  if (kind === KIND.mark) {
    const [name, value] = JSON.parse(body.toString('utf8', 1)) as [string, unknown];
    return { kind: 'mark', name, value };
  }
  if (kind !== KIND.entry || body.length < ENTRY_HEAD_BYTES) return undefined;
  const [idBytes, keyBytes] = [body.readUInt8(18), body.readUInt16LE(19)];
  const dataAt = ENTRY_HEAD_BYTES + idBytes + keyBytes;
  if (dataAt > body.length) return undefined;
  return {
    kind: 'entry',
    entry: {
      position: body.readDoubleLE(1),
      atMs: body.readDoubleLE(9),
      priority: body.readUInt8(17),
      id: body.toString('utf8', ENTRY_HEAD_BYTES, ENTRY_HEAD_BYTES + idBytes),
      key: body.toString('utf8', ENTRY_HEAD_BYTES + idBytes, dataAt),
      data: body.subarray(dataAt),
    },
  };
}

/** The record that begins here, with its length; undefined: none that is whole and sound. */
export function decodeAt(
  bytes: Buffer,
  at: number,
): { readonly record: QueueRecord; readonly bytes: number } | undefined {
  if (at + HEADER_BYTES > bytes.length || bytes.readUInt16LE(at) !== MAGIC) return undefined;
  const length = bytes.readUInt32LE(at + 2);
  const end = at + HEADER_BYTES + length;
  if (length === 0 || length > BODY_LIMIT_BYTES || end > bytes.length) return undefined;
  const body = bytes.subarray(at + HEADER_BYTES, end);
  if (crc32(body) !== bytes.readUInt32LE(at + 6)) return undefined;
  const record = bodyOf(body);
  return record && { record, bytes: HEADER_BYTES + length };
}

export interface Scan {
  readonly records: readonly { readonly record: QueueRecord; readonly at: number; readonly bytes: number }[];
  /** Stretches in the middle that are no records. */
  readonly damaged: number;
  /** Where the last sound record ends: what follows was never acknowledged, or is damage to the end. */
  readonly soundBytes: number;
}

/** All sound records of a segment. */
export function scan(bytes: Buffer): Scan {
  const records: { record: QueueRecord; at: number; bytes: number }[] = [];
  let [at, damaged, soundBytes] = [0, 0, 0];
  while (at < bytes.length) {
    const found = decodeAt(bytes, at);
    if (!found) {
      const next = bytes.indexOf(0xa5, at + 1);
      at = next < 0 ? bytes.length : next;
      continue;
    }
    if (at !== soundBytes) damaged++;
    records.push({ record: found.record, at, bytes: found.bytes });
    at += found.bytes;
    soundBytes = at;
  }
  return { records, damaged, soundBytes };
}
