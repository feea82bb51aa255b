/** Exec and console: one WebSocket, also over a unix socket. Loaded when it is first used. */
import type { SkerryError } from '@skerry/model';
import { fromProblem } from '../problem.ts';
import type { RouteId } from '../routes.ts';
import { CHANNEL, channelFrame, type TerminalReply, type TerminalRequest } from '../streams.ts';
import { connectionError, type Target } from './endpoint.ts';
import { type Loose, requestPath } from './transport.ts';

export interface TerminalSession {
  /** What the guest writes, in order; ends with the session. */
  readonly output: AsyncIterable<{ readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array }>;
  write(data: Uint8Array): void;
  closeInput(): void;
  resize(columns: number, rows: number): void;
  /** Exit code of the command; for a console 0 when it ends. Rejects when the session breaks. */
  readonly exit: Promise<number>;
  close(): void;
}

export async function openTerminal(target: Target, id: RouteId, input: Loose): Promise<TerminalSession> {
  const { WebSocket } = await import('ws');
  const path = requestPath(id, input);
  const { socketPath, ca } = target.connect;
  // ws takes the path of a unix socket before a colon.
  const url =
    socketPath === undefined ? target.origin.replace(/^http/, 'ws') + path : `ws+unix:${socketPath}:${path}`;
  const socket = new WebSocket(url, { headers: target.headers, ...(ca && { ca }) });
  socket.binaryType = 'nodebuffer';

  type Piece = { stream: 'stdout' | 'stderr'; data: Uint8Array };
  const queue: Piece[] = [];
  let ended = false;
  let wake = (): void => undefined;
  let finish!: (code: number) => void;
  let fail!: (error: SkerryError) => void;
  const exit = new Promise<number>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  exit.catch(() => undefined); // heard by whoever asks
  const end = () => {
    ended = true;
    wake();
  };

  socket.on('message', (data: Buffer, binary: boolean) => {
    if (binary) {
      queue.push({ stream: data[0] === CHANNEL.stderr ? 'stderr' : 'stdout', data: data.subarray(1) });
      return wake();
    }
    const reply = JSON.parse(data.toString()) as TerminalReply;
    if (reply.type === 'exit') finish(reply.code);
    else fail(fromProblem(reply.problem, 500));
    end();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('unexpected-response', (_request, response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        let body: unknown;
        try {
          body = JSON.parse(Buffer.concat(parts).toString());
        } catch {
          body = undefined;
        }
        reject(fromProblem(body, response.statusCode ?? 500));
      });
    });
    socket.on('error', (error) => {
      const failure = connectionError(error, target);
      reject(failure);
      fail(failure);
      end();
    });
  });
  socket.on('close', () => {
    fail(fromProblem({ code: 'unavailable', detail: 'the connection to the server ended' }, 503));
    end();
  });

  const request = (message: TerminalRequest) => socket.send(JSON.stringify(message));
  async function* output() {
    for (;;) {
      for (let piece = queue.shift(); piece; piece = queue.shift()) yield piece;
      if (ended) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    output: output(),
    write: (data) => socket.send(channelFrame(CHANNEL.input, data)),
    closeInput: () => request({ type: 'close-input' }),
    resize: (columns, rows) => request({ type: 'resize', columns, rows }),
    exit,
    close: () => socket.close(),
  };
}
