/** Writes streams: server-sent events and JSON lines. A listener that does not read is cut off, with the error as its last words. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { toProblem } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { StreamEvent } from './handlers.ts';

const BEAT_MS = 15_000;
const STUCK_MS = 30_000;

interface Format<T> {
  readonly type: string;
  readonly beat: string;
  write(item: T): string;
  error(error: unknown): string;
}

export const EVENTS: Format<StreamEvent> = {
  type: 'text/event-stream',
  beat: ':\n\n',
  write: ({ event, id, data }) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`,
  error: (error) => `event: error\ndata: ${JSON.stringify(toProblem(error))}\n\n`,
};
export const LINES: Format<unknown> = {
  type: 'application/x-ndjson',
  beat: '\n',
  write: (item) => `${JSON.stringify(item)}\n`,
  error: (error) => `${JSON.stringify({ error: toProblem(error) })}\n`,
};

/** Errors before the first item are thrown, so that they get a status; later ones go into the stream. */
export async function writeStream<T>(
  response: ServerResponse,
  items: AsyncIterable<T>,
  format: Format<T>,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let pending = iterator.next();
  const begin = () => {
    if (response.headersSent) return;
    response.writeHead(200, {
      'content-type': format.type,
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
  };
  // A stream that has nothing to say yet answers soon all the same.
  const early = setTimeout(begin, 50);
  const beat = setInterval(() => {
    if (response.headersSent && !response.writableNeedDrain) response.write(format.beat);
  }, BEAT_MS);
  try {
    for (;;) {
      const { done, value } = await pending;
      if (done || signal.aborted) break;
      begin();
      if (!response.write(format.write(value))) await drained(response, signal);
      pending = iterator.next();
    }
    begin();
    response.end();
  } catch (error) {
    if (signal.aborted) return;
    if (!response.headersSent) throw error;
    onError(error);
    response.end(format.error(error));
    // Where even the last words are not read, the connection goes.
    setTimeout(() => response.destroy(), 5000).unref();
  } finally {
    clearTimeout(early);
    clearInterval(beat);
    await iterator.return?.(undefined);
  }
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(STUCK_MS)]);
  try {
    await once(response, 'drain', { signal: limit });
  } catch (error) {
    if (signal.aborted) return;
    throw new SkerryError('watch_too_slow', `nothing was read for ${STUCK_MS / 1000} seconds`, {
      cause: error,
    });
  }
}
