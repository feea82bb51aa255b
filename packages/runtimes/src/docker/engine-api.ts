/**
 * The part of the Docker Engine API (docs.docker.com/engine/api, 1.41; Podman speaks it too) that Skerry uses, over the
 * engine's unix socket. It carries requests and answers and judges nothing.
 */
import { request as httpRequest } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { SkerryError } from '@skerry/model';
import { Agent, type Dispatcher, request } from 'undici';

/** The engine answered, and refused. */
export class EngineRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export const isNotThere = (error: unknown): boolean => error instanceof EngineRefusal && error.status === 404;

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly body?: unknown;
  /** Sent as it is, as a tar archive. */
  readonly tar?: Readable;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Milliseconds until an answer begins; default 30 s. */
  readonly timeoutMs?: number;
}

const LIMIT_MS = 30_000;

function pathOf(path: string, query: CallOptions['query'] = {}): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) words.set(name, String(value));
  const text = words.toString();
  return text === '' ? path : `${path}?${text}`;
}

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: unknown }).message ?? text);
  } catch {
    return text;
  }
}

export class EngineApi {
  readonly socketPath: string;
  readonly #agent: Agent;
  #closed = false;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
    // As many connections as there are questions: who waits for an end or follows a log holds one for hours.
    this.#agent = new Agent({ connect: { socketPath }, bodyTimeout: 0 });
  }

  /** The answer's body as a stream. Errors: EngineRefusal, engine_unavailable, cancelled. */
  async open(method: Dispatcher.HttpMethod, path: string, options: CallOptions = {}): Promise<Readable> {
    const { signal, body, tar, query, timeoutMs = LIMIT_MS } = options;
    const type = tar ? 'application/x-tar' : 'application/json';
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(`http://engine${pathOf(path, query)}`, {
        dispatcher: this.#agent,
        method,
        headersTimeout: timeoutMs,
        ...(signal ? { signal } : {}),
        ...(tar || body !== undefined
          ? { headers: { 'content-type': type }, body: tar ?? JSON.stringify(body) }
          : {}),
      });
    } catch (cause) {
      if (signal?.aborted) throw new SkerryError('cancelled', 'cancelled while the engine worked', { cause });
      const text = `the engine at ${this.socketPath} does not answer: ${(cause as Error).message}`;
      throw new SkerryError('engine_unavailable', text, { cause });
    }
    if (answer.statusCode < 400) return answer.body;
    throw new EngineRefusal(answer.statusCode, messageOf(await answer.body.text()));
  }

  /** The answer as text. Errors: as `open`. */
  async text(method: Dispatcher.HttpMethod, path: string, options: CallOptions = {}): Promise<string> {
    const pieces: Buffer[] = [];
    try {
      for await (const piece of await this.open(method, path, options)) pieces.push(piece as Buffer);
    } catch (error) {
      if (error instanceof SkerryError || error instanceof EngineRefusal) throw error;
      if (options.signal?.aborted) throw new SkerryError('cancelled', 'cancelled while the engine worked');
      throw new SkerryError('engine_unavailable', 'the engine broke off its answer', { cause: error });
    }
    return Buffer.concat(pieces).toString('utf8').trim();
  }

  /** The answer as JSON; undefined where it has no body. Errors: as `open`. */
  async call<T = unknown>(
    method: Dispatcher.HttpMethod,
    path: string,
    options: CallOptions = {},
  ): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Takes the connection over, as `docker exec` does (API, "Attach to a container", stream details). Errors: as `open`. */
  upgrade(path: string, body: object, signal: AbortSignal): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const asked = httpRequest({
        socketPath: this.socketPath,
        path,
        method: 'POST',
        signal,
        headers: {
          ...{ 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
          ...{ connection: 'Upgrade', upgrade: 'tcp' },
        },
      });
      asked.on('upgrade', (_answer, socket, head) => {
        socket.pause(); // it flows already, and what came before somebody reads would be lost
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      asked.on('response', (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('end', () =>
          reject(new EngineRefusal(answer.statusCode ?? 500, messageOf(Buffer.concat(pieces).toString()))),
        );
      });
      asked.on('error', (cause) =>
        reject(
          signal.aborted
            ? new SkerryError('cancelled', 'cancelled while the engine worked', { cause })
            : new SkerryError('engine_unavailable', `the engine does not answer: ${cause.message}`, {
                cause,
              }),
        ),
      );
      asked.end(text);
    });
  }

  /** From now on nothing is asked, and who listens is let go. */
  get closed(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#agent.destroy();
  }
}

/** `GET /containers/{id}/json`, what of it is asked. */
export interface Inspected {
  readonly Id: string;
  readonly State: {
    /** Docker: created, running, paused, restarting, removing, exited, dead; Podman has more. */
    readonly Status: string;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly OOMKilled: boolean;
    readonly Error: string;
    /** RFC 3339; the year 1 where it has not come. */
    readonly StartedAt: string;
    readonly FinishedAt: string;
  };
  readonly Config: {
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly StopSignal?: string;
  };
}
