/**
 * Messages by HTTP, for devices that speak no MQTT:
 *
 *   POST /v1/projects/{project}/devices/{device}/messages      Basic with the device's password, or its certificate
 *
 * One message or an array of at most 1,000: `{"topic", "payload"?: any JSON, "base64"?: bytes, "time"?: RFC 3339 or
 * milliseconds}`. 202 `{"accepted": n}`: durable. 429 `{"accepted", "again": [indexes]}`: those are to be sent again.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { toProblem } from '@skerry/contract';
import { asSkerryError, SkerryError } from '@skerry/model';
import type { Message } from '../message.ts';
import { Busy, type ConnectAnswer, type ConnectRequest, type DeviceIdentity } from '../ports.ts';
import { isTopic } from './topics.ts';

const MOST_BODY_BYTES = 4 * 1024 * 1024;
const MOST_MESSAGES = 1000;
/** Where a device has no limit of its own; as the broker's. */
const MOST_PAYLOAD_BYTES = 256 * 1024;
const BODY_LIMIT_MS = 30_000;
/** The clocks of devices are not always right. */
const FUTURE_SLACK_MS = 86_400_000;
const PATH = /^\/v1\/projects\/([a-z0-9-]{1,63})\/devices\/([a-z0-9-]{1,63})\/messages$/;

export interface HttpIngestOptions {
  readonly authenticate: (request: ConnectRequest) => Promise<ConnectAnswer>;
  readonly mayPublish: (identity: DeviceIdentity, topic: string) => boolean;
  /** Resolves when it is durable; rejects with `Busy`. */
  readonly take: (message: Message) => Promise<void> | undefined;
  readonly seen: (identity: DeviceIdentity) => void;
  readonly now?: () => number;
}

const CODES = {
  'bad-credentials': 'unauthenticated',
  'not-authorized': 'forbidden',
  unavailable: 'unavailable',
} as const;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** DER of what the client showed, where it showed one. */
export function certificateOf(socket: Partial<TLSSocket>): Buffer | undefined {
  const raw = socket.getPeerCertificate?.()?.raw;
  return raw && raw.length > 0 ? raw : undefined;
}

function basicOf(header: string | undefined): { username: string; password: Buffer } | undefined {
  const [, encoded] = /^Basic ([A-Za-z0-9+/=]{1,4096})$/i.exec(header ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  const colon = bytes.indexOf(':');
  if (colon < 0) return undefined;
  return { username: bytes.subarray(0, colon).toString('utf8'), password: bytes.subarray(colon + 1) };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  const limit = setTimeout(() => request.destroy(), BODY_LIMIT_MS);
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      sizeBytes += piece.length;
      if (sizeBytes > MOST_BODY_BYTES)
        throw new SkerryError('payload_too_large', `a request has at most ${MOST_BODY_BYTES} bytes`);
      pieces.push(piece);
    }
  } finally {
    clearTimeout(limit);
  }
  return Buffer.concat(pieces);
}

const invalid = (at: number, why: string) => new SkerryError('request_invalid', `message ${at + 1}: ${why}`);

function timeOf(value: unknown, at: number, nowMs: number): number {
  if (value === undefined) return nowMs;
  const ms = typeof value === 'number' ? value : Date.parse(String(value));
  if (!Number.isFinite(ms) || ms < 0)
    throw invalid(at, '"time" must be RFC 3339, or milliseconds since 1970');
  if (ms > nowMs + FUTURE_SLACK_MS) throw invalid(at, '"time" is more than a day ahead');
  return Math.round(ms);
}

function payloadOf({ payload, base64 }: Record<string, unknown>, at: number): Buffer {
  if (base64 === undefined) {
    if (payload === undefined) throw invalid(at, '"payload" is missing');
    return Buffer.from(JSON.stringify(payload));
  }
  if (payload !== undefined || typeof base64 !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64))
    throw invalid(at, '"base64" must be bytes in base64, without "payload" beside it');
  return Buffer.from(base64, 'base64');
}

export class HttpIngest {
  readonly #options: HttpIngestOptions;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  /** With a number it makes ids that no other start of the hub makes. */
  readonly #start = randomBytes(9).toString('base64url');
  #number = 0;

  constructor(options: HttpIngestOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#serve(request, response).catch((thrown) => {
      const error = asSkerryError(thrown);
      if (response.headersSent) return void response.destroy();
      const problem = toProblem(error);
      if (error.code === 'unauthenticated') response.setHeader('www-authenticate', 'Basic realm="devices"');
      // what was not read of the body is not waited for
      response.writeHead(problem.status, { 'content-type': 'application/problem+json', connection: 'close' });
      response.end(JSON.stringify(problem));
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, project, device] = PATH.exec((request.url ?? '').split('?')[0]!) ?? [];
    if (project === undefined || device === undefined)
      throw new SkerryError('not_found', 'devices send to /v1/projects/PROJECT/devices/DEVICE/messages');
    if (request.method !== 'POST') throw new SkerryError('request_invalid', 'messages are sent with POST');
    const identity = { project, device };
    const limits = await this.#admit(request, identity);
    const messages = this.#read(await bodyOf(request), identity, limits.messageBytes ?? MOST_PAYLOAD_BYTES);
    this.#options.seen(identity);
    if (!this.#spend(identity, messages.length, limits.messagesPerSecond))
      return answer(response, 429, { accepted: 0, again: messages.map((_, at) => at) });
    const outcomes = await Promise.allSettled(messages.map((message) => this.#options.take(message)));
    const again: number[] = [];
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue;
      if (!(outcome.reason instanceof Busy)) throw outcome.reason;
      again.push(at);
    }
    const accepted = messages.length - again.length;
    if (again.length === 0) answer(response, 202, { accepted });
    else answer(response, 429, { accepted, again });
  }

  /** Errors: unauthenticated, forbidden, unavailable. */
  async #admit(request: IncomingMessage, { project, device }: DeviceIdentity) {
    const basic = basicOf(request.headers.authorization);
    const certificate = certificateOf(request.socket as Partial<TLSSocket>);
    // a name without its project is one of the project that the path names
    const username =
      basic && (basic.username.includes('/') ? basic.username : `${project}/${basic.username}`);
    const answered = await this.#options.authenticate({
      clientId: 'http',
      remoteAddress: request.socket.remoteAddress ?? '',
      ...(basic && username !== undefined && { username, password: basic.password }),
      ...(certificate && { certificate }),
    });
    if ('refused' in answered) {
      throw new SkerryError(CODES[answered.refused], answered.reason);
    }
    if (answered.identity.project !== project || answered.identity.device !== device)
      throw new SkerryError('forbidden', 'a device sends in its own name only');
    return answered;
  }

  #read(body: Buffer, identity: DeviceIdentity, mostBytes: number): Message[] {
    let said: unknown;
    try {
      said = JSON.parse(body.toString('utf8'));
    } catch {
      throw new SkerryError('request_invalid', 'the body is no JSON');
    }
    const list = Array.isArray(said) ? said : [said];
    if (list.length > MOST_MESSAGES)
      throw new SkerryError('payload_too_large', `a request has at most ${MOST_MESSAGES} messages`);
    const nowMs = this.#now();
    return list.map((one, at) => {
      if (typeof one !== 'object' || one === null) throw invalid(at, 'it must be an object');
      const { topic, time } = one as Record<string, unknown>;
      if (typeof topic !== 'string' || !isTopic(topic)) throw invalid(at, '"topic" must be an MQTT topic');
      if (!this.#options.mayPublish(identity, topic))
        throw new SkerryError('forbidden', `message ${at + 1}: ${identity.device} may not send to ${topic}`);
      const payload = payloadOf(one as Record<string, unknown>, at);
      if (payload.length > mostBytes)
        throw new SkerryError('payload_too_large', `message ${at + 1} has more than ${mostBytes} bytes`);
      return {
        ...identity,
        id: `${this.#start}.${(this.#number++).toString(36)}`,
        topic,
        receivedAtMs: timeOf(time, at, nowMs),
        qos: 1 as const,
        retain: false,
        payload,
      };
    });
  }

  /** So many in a second, and as many at once. */
  #spend({ project, device }: DeviceIdentity, count: number, perSecond: number | undefined): boolean {
    if (perSecond === undefined) return true;
    const key = `${project}/${device}`;
    const nowMs = performance.now();
    const found = this.#buckets.get(key) ?? { tokens: perSecond, atMs: nowMs };
    const tokens = Math.min(perSecond, found.tokens + ((nowMs - found.atMs) / 1000) * perSecond);
    // a batch of more than a second's is taken when a whole second was saved, and owes the rest
    const isEnough = tokens >= Math.min(count, perSecond);
    this.#buckets.set(key, { tokens: isEnough ? tokens - count : tokens, atMs: nowMs });
    return isEnough;
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(status === 429 && { 'retry-after': '1' }),
  });
  response.end(JSON.stringify(body));
}
