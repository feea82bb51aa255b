/** What sinks put into topics and addresses, and how a sink is told from another. */
import type { StreamSink } from '@skerry/model';
import type { Outgoing } from '../ports.ts';

/** `%d` the device, `%t` its topic, `%p` the project. */
export const fillTopic = (pattern: string, { device, topic, project }: Outgoing): string =>
  pattern.replace(/%[dtp]/g, (word) => (word === '%d' ? device : word === '%t' ? topic : project));

/** The same as long as the target is: what waits for it belongs to it, whatever else changes. */
export function sinkKey(spec: StreamSink): string {
  if ('series' in spec) return `series ${spec.series.name ?? ''}`;
  if ('mqtt' in spec) return `mqtt ${spec.mqtt.url} ${spec.mqtt.topic}`;
  if ('webhook' in spec) return `webhook ${spec.webhook.url}`;
  if ('file' in spec) return `file ${spec.file.name}`;
  return `stream ${spec.stream.name}`;
}

/** A payload as JSON holds it: what is JSON as it is, other text as text, bytes in base64. */
export function jsonOf(payload: Uint8Array): unknown {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const text = bytes.toString('utf8');
  if (Buffer.byteLength(text) !== bytes.length || text.includes('\ufffd')) return bytes.toString('base64');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** One message of a batch, or a line of a file. */
export const asRecord = ({ id, device, topic, atMs, payload }: Outgoing) => ({
  ...{ id, device, topic, time: new Date(atMs).toISOString(), value: jsonOf(payload) },
});
