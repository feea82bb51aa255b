/**
 * A plain HTTP/1.1 client for load: a fixed number of connections over a unix socket, one request at a time on each,
 * little work for each answer, so that the server is what is measured. Understands answers with a Content-Length only.
 */
import { connect, type Socket } from 'node:net';

export interface LoadOptions {
  readonly socketPath: string;
  readonly connections: number;
  readonly seconds: number;
  /** The whole request of the given connection and turn, as it goes over the wire. */
  readonly request: (connection: number, turn: number) => string;
}
export interface LoadResult {
  readonly perSecond: number;
  readonly latenciesMs: number[];
}

export const httpRequest = (method: string, path: string, body?: string, type = 'application/json'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: skerry\r\n` +
  (body === undefined
    ? '\r\n'
    : `Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);

/** One request; resolves with the status and how many bytes the answer has. */
function ask(socket: Socket, request: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    const done = (settle: () => void) => {
      socket.off('data', take);
      socket.off('error', reject);
      settle();
    };
    const take = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /content-length: (\d+)/i.exec(text.slice(0, head))?.[1];
      if (length === undefined) return done(() => reject(new Error(`no length: ${text.slice(0, 300)}`)));
      if (text.length >= head + 4 + Number(length))
        done(() => {
          const status = Number(text.slice(9, 12));
          if (status < 300) resolve(status);
          else reject(new Error(`${status}: ${text.slice(head + 4, head + 500)}`));
        });
    };
    socket.on('data', take);
    socket.on('error', reject);
    socket.write(request);
  });
}

const WARM_UP_MS = 2000;

/** Errors: the first answer that is none of 2xx. */
export async function load({ socketPath, connections, seconds, request }: LoadOptions): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  const fromMs = performance.now() + WARM_UP_MS;
  const untilMs = fromMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: connections }, async (_, connection) => {
      const socket = connect(socketPath);
      try {
        await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
        for (let turn = 0; ; turn++) {
          const begunMs = performance.now();
          if (begunMs > untilMs) return;
          await ask(socket, request(connection, turn));
          const endMs = performance.now();
          if (endMs > fromMs && endMs <= untilMs) latenciesMs.push(endMs - begunMs);
        }
      } finally {
        socket.destroy();
      }
    }),
  );
  return { perSecond: latenciesMs.length / seconds, latenciesMs };
}
