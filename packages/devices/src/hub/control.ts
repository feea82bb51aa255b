/**
 * The door of the device program for its agent: HTTP over a unix socket that only its owner may open.
 *
 *   GET  /feed    {revision, isWanted}: where to resume  PUT /feed    FeedItems, one a line -> the same: durable up to there
 *   PUT  /local   what the node is -> {troubles}         GET /report  a stream of ReportLines
 *   POST /answer  {id, values?}: of another node         POST /call   HubCall -> a stream of {value}, at last {problem} if any
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { type FeedItem, type HubCall, toProblem } from '@skerry/contract';
import { asSkerryError, SkerryError } from '@skerry/model';
import type { Hub } from './hub.ts';
import type { Local } from './local.ts';
import type { Logger } from './parts.ts';

/** Applied, and durable, together. */
const FEED_PIECE = 1000;
const MOST_BODY_BYTES = 16 * 1024 * 1024;

async function jsonOf<T>(request: IncomingMessage): Promise<T> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > MOST_BODY_BYTES) throw new SkerryError('payload_too_large', 'the request is too large');
    pieces.push(piece);
  }
  return JSON.parse(Buffer.concat(pieces).toString('utf8')) as T;
}

const send = (response: ServerResponse, value: unknown) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
};

const standing = ({ revision, isWanted }: Hub) => ({ revision, isWanted });

async function takeFeed(hub: Hub, request: IncomingMessage): Promise<void> {
  let items: FeedItem[] = [];
  const lines = createInterface({ input: request, crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    if (line.trim() === '') continue;
    items.push(JSON.parse(line) as FeedItem);
    if (items.length < FEED_PIECE) continue;
    hub.feed(items);
    items = [];
  }
  if (items.length > 0) hub.feed(items);
}

/** One value a line, never faster than they are read. Ends with the connection. */
async function sendLines(
  response: ServerResponse,
  values: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  for await (const value of values) {
    if (signal.aborted) return;
    if (response.write(`${JSON.stringify(value)}\n`)) continue;
    await new Promise<void>((resolve) => {
      response.once('drain', resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
  response.end();
}

/** An error after the first value is told in the stream, too. */
async function* withProblem(values: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  try {
    for await (const value of values) yield { value };
  } catch (thrown) {
    yield { problem: toProblem(thrown) };
  }
}

async function serve(hub: Hub, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const { signal } = gone;
  switch (`${request.method} ${request.url}`) {
    case 'GET /feed':
      return send(response, standing(hub));
    case 'PUT /feed':
      await takeFeed(hub, request);
      return send(response, standing(hub));
    case 'PUT /local': {
      await hub.tell(await jsonOf<Local>(request));
      return send(response, { troubles: hub.troubles });
    }
    case 'GET /report':
      return sendLines(response, hub.report(signal), signal);
    case 'POST /answer': {
      const { id, values } = await jsonOf<{ id: number; values?: unknown[] }>(request);
      hub.answered(id, values);
      return send(response, {});
    }
    case 'POST /call':
      return sendLines(response, withProblem(hub.call(await jsonOf<HubCall>(request), signal)), signal);
    default:
      throw new SkerryError('not_found', 'the device program is asked for nothing of that name');
  }
}

export interface Control {
  close(): Promise<void>;
}

/** A socket that another one left behind is replaced: the caller makes sure that there is no other one. */
export async function openControl(hub: Hub, socketPath: string, logger: Logger): Promise<Control> {
  mkdirSync(dirname(socketPath), { recursive: true });
  rmSync(socketPath, { force: true });
  const server: Server = createServer((request, response) => {
    serve(hub, request, response).catch((thrown) => {
      const error = asSkerryError(thrown);
      if (error.code === 'internal' && !response.destroyed)
        logger.error({ err: String(thrown) }, 'not answered');
      if (response.headersSent) return void response.destroy();
      const problem = toProblem(error);
      response.writeHead(problem.status, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify(problem));
    });
  });
  // a feed of a hundred thousand devices takes its time, a report never ends
  server.requestTimeout = 0;
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socketPath, resolve);
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(socketPath, 0o600);
  return {
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
