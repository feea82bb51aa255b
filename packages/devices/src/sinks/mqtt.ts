/**
 * Another broker, upstream: any that speaks MQTT. A message counts as taken when it is acknowledged (QoS 1 and 2). Its id travels as
 * the user property `skerry-id`; a batch is a JSON list with the ids in it, compressed where that is asked for.
 */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { StreamSink } from '@skerry/model';
import { connect, type IClientOptions, type IClientPublishOptions, type MqttClient } from 'mqtt';
import { NeverTaken, type Outgoing, type Sink } from '../ports.ts';
import { asRecord, fillTopic } from './names.ts';

type MqttSpec = Extract<StreamSink, { mqtt: unknown }>['mqtt'];
/** Messages on their way at once, where they go one by one. */
const WINDOW = 64;
const ANSWER_MS = 30_000;
/** What another attempt does not change: not authorised, a topic or payload that it does not take, too large. */
const NEVER = new Set([0x87, 0x90, 0x95, 0x99]);

export interface MqttSinkOptions {
  /** Of this stream at this node, so that the other side knows it again. */
  readonly clientId: string;
}

export function mqttSink(spec: MqttSpec, { clientId }: MqttSinkOptions): Sink {
  const qos = (spec.qos ?? 1) as 0 | 1 | 2;
  const batched = spec.batch ?? 1;
  let client: MqttClient | undefined;
  /** Until the other side speaks 5 no more, for some do not. */
  let version: 4 | 5 = 5;

  const connected = (signal: AbortSignal): Promise<MqttClient> => {
    if (client?.connected) return Promise.resolve(client);
    client?.end(true);
    const options: IClientOptions = {
      ...{ clientId, protocolVersion: version, reconnectPeriod: 0, connectTimeout: 10_000, keepalive: 30 },
      ...{ clean: true, queueQoSZero: false, resubscribe: false },
      ...(spec.username !== undefined && { username: spec.username }),
      ...(spec.password !== undefined && { password: spec.password }),
      ...(spec.ca !== undefined && { ca: spec.ca }),
    };
    const fresh = connect(spec.url, options);
    client = fresh;
    return new Promise((resolve, reject) => {
      const fail = (error: Error & { code?: unknown }) => {
        fresh.end(true);
        if (error.code === 1 || error.code === 0x84) version = 4;
        reject(new Error(`the broker upstream: ${error.message}`));
      };
      const end = () => fail(new Error('given up'));
      signal.addEventListener('abort', end, { once: true });
      fresh.once('error', fail);
      fresh.once('close', () => fail(new Error('it closed the connection')));
      fresh.once('connect', () => {
        signal.removeEventListener('abort', end);
        fresh.off('error', fail);
        fresh.on('error', () => undefined); // who waits for an answer hears of it
        resolve(fresh);
      });
    });
  };

  const publish = (
    to: MqttClient,
    topic: string,
    payload: Buffer,
    id: string,
    more: object,
    signal: AbortSignal,
  ) =>
    new Promise<void>((resolve, reject) => {
      const settle = (error?: Error & { code?: unknown }) => {
        clearTimeout(timer);
        to.off('close', lost);
        signal.removeEventListener('abort', lost);
        if (!error) resolve();
        else if (typeof error.code === 'number' && NEVER.has(error.code))
          reject(new NeverTaken(id, `the broker upstream: ${error.message}`));
        else reject(new Error(`the broker upstream: ${error.message}`));
      };
      const lost = () => settle(new Error('it went away'));
      const timer = setTimeout(() => settle(new Error('it does not acknowledge')), ANSWER_MS);
      to.once('close', lost);
      signal.addEventListener('abort', lost, { once: true });
      const options: IClientPublishOptions =
        version === 5 ? { qos, properties: { userProperties: { 'skerry-id': id }, ...more } } : { qos };
      to.publish(topic, payload, options, (error) => settle(error ?? undefined));
    });

  const deliverBatch = async (
    to: MqttClient,
    batch: readonly Outgoing[],
    signal: AbortSignal,
  ): Promise<void> => {
    const byTopic = new Map<string, Outgoing[]>();
    for (const message of batch) {
      const topic = fillTopic(spec.topic, message);
      byTopic.set(topic, [...(byTopic.get(topic) ?? []), message]);
    }
    for (const [topic, messages] of byTopic) {
      const text = Buffer.from(JSON.stringify(messages.map(asRecord)));
      const payload = spec.compress ? await promisify(gzip)(text) : text;
      const contentType = spec.compress ? 'application/json+gzip' : 'application/json';
      await publish(to, topic, payload, messages[0]!.id, { contentType }, signal);
    }
  };

  return {
    kind: 'mqtt',
    batch: batched > 1 ? batched : WINDOW,
    async deliver(batch, signal) {
      try {
        const to = await connected(signal);
        to.setMaxListeners(2 * WINDOW + 20);
        if (batched > 1 || spec.compress) await deliverBatch(to, batch, signal);
        else
          await Promise.all(
            batch.map((message) => {
              const payload = Buffer.from(message.payload);
              return publish(to, fillTopic(spec.topic, message), payload, message.id, {}, signal);
            }),
          );
      } catch (error) {
        // Only a fresh connection begins in order again.
        if (!(error instanceof NeverTaken)) client?.end(true);
        throw error;
      }
    },
    async close() {
      client?.end(true);
    },
  };
}
