/** The agent's side of the device program's door. It keeps no connection open but for streams. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { type FeedItem, fromProblem, type HubCall, type Problem } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Local } from './local.ts';
import type { ReportLine } from './reports.ts';

export interface Standing {
  readonly revision: number;
  /** Whether there is a device or a stream: without one the program has nothing to do. */
  readonly isWanted: boolean;
}
export interface Trouble {
  readonly url: string;
  readonly reason: string;
}

export class HubClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Where to resume the feed. Errors of every verb: unavailable; those of the hub. */
  standing(signal: AbortSignal): Promise<Standing> {
    return this.#json('GET', '/feed', undefined, signal);
  }

  /** Resolves when all of them are durable. */
  feed(items: readonly FeedItem[], signal: AbortSignal): Promise<Standing> {
    const body = items.map((item) => `${JSON.stringify(item)}\n`).join('');
    return this.#json('PUT', '/feed', body, signal);
  }

  /** Resolves with what could not be listened on. */
  async tell(local: Local, signal: AbortSignal): Promise<readonly Trouble[]> {
    const body = JSON.stringify(local);
    return (await this.#json<{ troubles: Trouble[] }>('PUT', '/local', body, signal)).troubles;
  }

  async answer(id: number, values: readonly unknown[] | undefined, signal: AbortSignal): Promise<void> {
    await this.#json('POST', '/answer', JSON.stringify({ id, ...(values && { values }) }), signal);
  }

  report(signal: AbortSignal): AsyncGenerator<ReportLine> {
    return this.#lines<ReportLine>('GET', '/report', undefined, signal);
  }

  async *call(call: HubCall, signal: AbortSignal): AsyncGenerator<unknown> {
    const lines = this.#lines<{ value?: unknown; problem?: Problem }>(
      'POST',
      '/call',
      JSON.stringify(call),
      signal,
    );
    for await (const line of lines) {
      if (line.problem) throw fromProblem(line.problem, line.problem.status);
      yield line.value;
    }
  }

  async *#lines<T>(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    const response = await this.#ask(method, path, body, signal);
    try {
      const lines = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY });
      for await (const line of lines) yield JSON.parse(line) as T;
    } catch (error) {
      if (!signal.aborted) throw lost(error);
    } finally {
      response.destroy();
    }
    if (!signal.aborted && !response.complete) throw lost(undefined);
  }

  async #json<T>(method: string, path: string, body: string | undefined, signal: AbortSignal): Promise<T> {
    return JSON.parse(await textOf(await this.#ask(method, path, body, signal))) as T;
  }

  #ask(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.#socketPath, method, path, signal, agent: false });
      request.once('error', (error) => reject(lost(error)));
      request.once('response', (response) => {
        if (response.statusCode === 200) return resolve(response);
        textOf(response).then(
          (text) => reject(fromProblem(parseOr(text), response.statusCode ?? 500)),
          (error) => reject(lost(error)),
        );
      });
      request.end(body);
    });
  }
}

const lost = (cause: unknown) =>
  new SkerryError('unavailable', 'the device program of this node does not answer', { cause });

async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of response as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
