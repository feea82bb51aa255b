/**
 * A watch that goes on: when the connection breaks it asks again from the last revision it read; when the server no
 * longer remembers that far, it says `reset` and begins anew. It ends only by its signal or by an error that a new
 * request would meet again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { asSkerryError, ERRORS, type SkerryError } from '@skerry/model';
import { fromProblem } from '../problem.ts';
import type { RouteId } from '../routes.ts';
import type { WatchMessage } from '../streams.ts';
import { linesOf } from './lines.ts';
import type { Loose, Transport } from './transport.ts';

const PAUSE_MS = [0, 100, 300, 1000, 3000];

interface ServerSentEvent {
  readonly id?: string;
  readonly event: string;
  readonly data: string;
}

/** The subset of the HTML standard's event stream that the server writes. */
export async function* serverSentEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let event = 'message';
  let data = '';
  let id: string | undefined;
  for await (const line of linesOf(chunks)) {
    if (line === '') {
      if (data) yield { event, data, ...(id !== undefined && { id }) };
      event = 'message';
      data = '';
      id = undefined;
    } else if (line.startsWith('event:')) event = line.slice(6).trim();
    else if (line.startsWith('id:')) id = line.slice(3).trim();
    else if (line.startsWith('data:')) data += (data && '\n') + line.slice(5).trimStart();
  }
}

export async function* watchRoute<T>(
  transport: Transport,
  id: RouteId,
  input: Loose,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage<T>> {
  let since = input.since as number | undefined;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const asked = { ...input, watch: true, since };
      const answer = await transport.send(id, asked, { signal }, 'text/event-stream');
      for await (const message of serverSentEvents(answer.body)) {
        failures = 0;
        if (message.event === 'error') throw fromProblem(JSON.parse(message.data), 500);
        const revision = Number(message.id);
        const value = JSON.parse(message.data);
        if (message.event === 'put') yield { type: 'put', revision, object: value };
        else if (message.event === 'delete') yield { ...value, type: 'delete', revision };
        else if (message.event === 'synced') yield { type: 'synced', revision };
        // In the first listing revisions are not in order: nothing to resume from before it is whole.
        if (message.event === 'synced' || since !== undefined) since = revision;
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const error: SkerryError = asSkerryError(thrown);
      if (error.code === 'store_compacted' && since !== undefined) {
        since = undefined;
        yield { type: 'reset' };
      } else if (ERRORS[error.code].retry !== 'later' && error.code !== 'not_running') throw error;
      else if (failures >= 20) throw error;
    }
    const wait = PAUSE_MS[Math.min(failures++, PAUSE_MS.length - 1)]!;
    await pause(wait, undefined, { signal }).catch(() => undefined);
  }
}
