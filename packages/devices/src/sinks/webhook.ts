/**
 * Messages by HTTP POST: one as it is, or several as a JSON list; taken when the answer is 2xx. What can pass (408, 425, 429, 5xx, no
 * answer) is tried again; what can not (another 4xx) is dropped and counted, of a batch only the message that it is. Redirects
 * are not followed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { StreamSink } from '@skerry/model';
import { Agent, request } from 'undici';
import { NeverTaken, type Outgoing, type Sink } from '../ports.ts';
import { asRecord } from './names.ts';

type WebhookSpec = Extract<StreamSink, { webhook: unknown }>['webhook'];
const TIMEOUT_MS = 30_000;
const RETRY_AFTER_LIMIT_S = 300;
const PASSES = new Set([408, 425, 429]);

class Refusal extends Error {}

export function webhookSink(spec: WebhookSpec): Sink {
  const size = spec.batch ?? 1;
  const agent = new Agent({
    ...{ connections: 1, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS },
    connect: { timeout: 10_000, ...(spec.ca !== undefined && { ca: spec.ca }) },
  });

  const post = async (messages: readonly Outgoing[], signal: AbortSignal): Promise<void> => {
    const [first] = messages;
    const single = size === 1;
    const text = single ? Buffer.from(first!.payload) : Buffer.from(JSON.stringify(messages.map(asRecord)));
    const body = spec.compress ? await promisify(gzip)(text) : text;
    const {
      statusCode,
      headers,
      body: answer,
    } = await request(spec.url, {
      ...{ method: 'POST', dispatcher: agent, body, signal },
      headers: {
        ...{
          'content-type': 'application/json',
          'idempotency-key': messages
            .map(({ id }) => id)
            .join(',')
            .slice(0, 1024),
        },
        ...(single && {
          'skerry-id': first!.id,
          'skerry-device': first!.device,
          'skerry-topic': encodeURI(first!.topic),
          'skerry-time': new Date(first!.atMs).toISOString(),
        }),
        ...(spec.compress && { 'content-encoding': 'gzip' }),
        ...(spec.token !== undefined && { authorization: `Bearer ${spec.token}` }),
        ...spec.headers,
      },
    });
    await answer.dump({ limit: 65_536 });
    if (statusCode >= 200 && statusCode < 300) return;
    const reason = `the webhook answered ${statusCode}`;
    if (statusCode >= 400 && statusCode < 500 && !PASSES.has(statusCode)) throw new Refusal(reason);
    const after = Number(headers['retry-after']);
    if (Number.isFinite(after) && after > 0)
      await pause(Math.min(after, RETRY_AFTER_LIMIT_S) * 1000, undefined, { signal });
    throw new Error(reason);
  };

  return {
    kind: 'webhook',
    batch: size,
    async deliver(batch, signal) {
      try {
        await post(batch, signal);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (batch.length === 1) throw new NeverTaken(batch[0]!.id, error.message);
        // Which one it is: each by itself. What was taken before is known by its id.
        for (const one of batch)
          await post([one], signal).catch((cause: Error) => {
            throw cause instanceof Refusal ? new NeverTaken(one.id, cause.message) : cause;
          });
      }
    },
    close: () => agent.destroy(),
  };
}
