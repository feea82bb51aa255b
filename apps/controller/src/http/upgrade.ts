/** WebSockets: finds the route, checks the caller and the input, and joins the socket with a terminal of a guest. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  CHANNEL,
  channelFrame,
  type RouteId,
  routeIds,
  routeOf,
  type TerminalReply,
  type TerminalRequest,
  toProblem,
} from '@skerry/contract';
import { asSkerryError, SkerryError } from '@skerry/model';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Callers } from '../auth/callers.ts';
import type { Logger } from '../logger.ts';
import type { Handlers, Terminal } from './handlers.ts';
import { readInput } from './input.ts';

/** Written and not yet sent: beyond it the guest's output waits. */
const MOST_BUFFERED_BYTES = 1024 * 1024;
const PING_MS = 20_000;

type AnyHandler = (input: unknown, signal: AbortSignal) => Promise<Terminal>;
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export function createUpgrade(
  handlers: Handlers,
  callers: Callers,
  logger: Logger,
): { upgrade: Upgrade; close(): void } {
  const server = new WebSocketServer({ noServer: true, maxPayload: 256 * 1024, clientTracking: true });
  const routes = routeIds()
    .filter((id) => routeOf(id).answer === 'socket')
    .map((id) => ({
      id,
      pattern: new RegExp(`^${routeOf(id).path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
    }));

  const open = async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const url = new URL(request.url ?? '/', 'http://skerry');
    const found = routes
      .map(({ id, pattern }) => ({ id, match: pattern.exec(url.pathname) }))
      .find(({ match }) => match);
    if (!found) throw new SkerryError('not_found', `${url.pathname} is no WebSocket that is known here`);
    callers.admit(request);
    // A page of some other origin in a browser may not reach the socket with the user's rights.
    if (
      request.headers.origin !== undefined &&
      new URL(request.headers.origin).host !== request.headers.host
    ) {
      throw new SkerryError('forbidden', 'the request comes from a page of another origin');
    }
    const query: Record<string, string | string[]> = {};
    for (const name of url.searchParams.keys()) {
      const values = url.searchParams.getAll(name);
      query[name] = values.length > 1 ? values : values[0]!;
    }
    const params = Object.fromEntries(
      Object.entries(found.match!.groups!).map(([name, text]) => [name, decode(text)]),
    );
    const input = readInput(found.id, params, query, undefined);
    const abort = new AbortController();
    socket.once('close', () => abort.abort());
    const terminal = await (handlers[found.id as RouteId & 'instance.exec'] as AnyHandler)(
      input,
      abort.signal,
    );
    if (abort.signal.aborted) return void terminal.kill().catch(() => undefined);
    server.handleUpgrade(request, socket, head, (webSocket) => join(webSocket, terminal, abort, logger));
  };

  return {
    upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy());
      open(request, socket, head).catch((thrown) => {
        const error = asSkerryError(thrown);
        if (error.code === 'internal') logger.error({ err: thrown }, 'a terminal could not be opened');
        refuse(socket, error);
      });
    },
    close() {
      for (const client of server.clients) client.terminate();
      server.close();
    },
  };
}

/** Errors: request_invalid. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new SkerryError('request_invalid', `"${text}" is not well encoded`, { cause: error });
  }
}

/** Ends a connection that was to become a WebSocket, with the reason. */
export function refuse(socket: Duplex, error: SkerryError): void {
  const problem = toProblem(error);
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function join(socket: WebSocket, terminal: Terminal, abort: AbortController, logger: Logger): void {
  let finished = false;
  let alive = true;
  const ping = setInterval(() => {
    if (!alive) return socket.terminate();
    alive = false;
    socket.ping();
  }, PING_MS);
  socket.on('pong', () => {
    alive = true;
  });
  const end = (reply: TerminalReply) => {
    if (finished) return;
    finished = true;
    socket.send(JSON.stringify(reply), () => socket.close());
  };
  const failed = (thrown: unknown) => end({ type: 'error', problem: toProblem(thrown) });

  socket.on('message', (data: Buffer, binary: boolean) => {
    if (finished) return;
    if (binary) {
      if (data[0] === CHANNEL.input) terminal.write(data.subarray(1)).catch(failed);
      return;
    }
    try {
      const message = JSON.parse(data.toString()) as TerminalRequest;
      if (message.type === 'close-input') terminal.closeInput().catch(failed);
      else if (message.type === 'resize')
        terminal.resize(Number(message.columns), Number(message.rows)).catch(failed);
    } catch (error) {
      failed(new SkerryError('request_invalid', 'a text frame must be JSON', { cause: error }));
    }
  });
  socket.on('error', (error) => logger.debug({ err: error }, 'a terminal broke'));
  socket.on('close', () => {
    clearInterval(ping);
    abort.abort();
    if (!finished)
      terminal.kill().catch((error) => logger.debug({ err: error }, 'a command could not be ended'));
    finished = true;
  });

  const pump = async () => {
    for await (const { stream, data } of terminal.output) {
      if (finished) return;
      await new Promise<void>((resolve) => {
        const sent = socket.bufferedAmount < MOST_BUFFERED_BYTES;
        socket.send(channelFrame(CHANNEL[stream], data), sent ? undefined : () => resolve());
        if (sent) resolve();
      });
    }
    end({ type: 'exit', code: await terminal.exit });
  };
  pump().catch(failed);
}
