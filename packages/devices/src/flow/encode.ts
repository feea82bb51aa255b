/** Messages as the data of a queue's entries: two bytes of length, a head in JSON, then the payload as it came. */
import type { Item, Message } from '../message.ts';
import type { Outgoing, QueueEntry, StoredEntry } from '../ports.ts';

function joined(head: unknown, payload: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  if (text.length > 65_535) throw new RangeError('the topic of a message is too long');
  const data = Buffer.allocUnsafe(2 + text.length + payload.length);
  data.writeUInt16LE(text.length, 0);
  data.set(text, 2);
  data.set(payload, 2 + text.length);
  return data;
}
function parted(data: Uint8Array): { head: unknown[]; payload: Uint8Array } {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const end = 2 + bytes.readUInt16LE(0);
  return { head: JSON.parse(bytes.toString('utf8', 2, end)) as unknown[], payload: bytes.subarray(end) };
}

export function messageEntry(message: Message): QueueEntry {
  const { topic, qos, retain, contentType } = message;
  const head = [topic, qos, retain ? 1 : 0, ...(contentType === undefined ? [] : [contentType])];
  return {
    ...{ id: message.id, key: message.device, atMs: message.receivedAtMs, priority: 0 },
    data: joined(head, message.payload),
  };
}
export function entryMessage(entry: StoredEntry, project: string): Message {
  const { head, payload } = parted(entry.data);
  const [topic, qos, retain, contentType] = head as [string, 0 | 1 | 2, 0 | 1, string?];
  return {
    ...{
      id: entry.id,
      project,
      device: entry.key,
      topic,
      receivedAtMs: entry.atMs,
      qos,
      retain: retain === 1,
    },
    ...{ payload, ...(contentType !== undefined && { contentType }) },
  };
}

/** What a sink gets of a value: bytes as they are, all else as JSON. */
export const payloadOf = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value) ?? 'null');

/** `nowMs`: its age in the queue counts from here. */
export function itemEntry(item: Item, priority: number, nowMs: number): QueueEntry {
  const data = joined([item.topic, item.atMs], payloadOf(item.value));
  return { id: item.id, key: item.device, atMs: nowMs, priority, data };
}
export function entryOutgoing(entry: StoredEntry, project: string): Outgoing {
  const { head, payload } = parted(entry.data);
  const [topic, atMs] = head as [string, number];
  return { id: entry.id, project, device: entry.key, topic, atMs, payload };
}
