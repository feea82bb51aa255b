/**
 * Ends of containers, heard from the engine. A connection that breaks ends the iteration with an error: whoever listens looks
 * at everything anew when the engine is back, so nothing that happened meanwhile is lost.
 */
import { type Id, SkerryError } from '@skerry/model';
import { EventQueue } from '../event-queue.ts';
import type { GuestEvent } from '../port.ts';
import type { EngineApi } from './engine-api.ts';
import { ownFilter, uidOf } from './names.ts';

export interface EventSource {
  readonly api: EngineApi;
  readonly identityId: string;
  /** Podman's `since` takes whole seconds. */
  readonly wholeSeconds: boolean;
  /** Both: what is to be told; undefined where it is nothing. */
  readonly ended: (uid: Id<'instance'>) => Promise<GuestEvent | undefined>;
  readonly outOfMemory: (uid: Id<'instance'>) => GuestEvent;
}

interface EngineEvent {
  readonly Action?: string;
  readonly Actor?: { readonly Attributes?: Readonly<Record<string, string>> };
}

export async function* engineEvents(source: EventSource, signal: AbortSignal): AsyncGenerator<GuestEvent> {
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  const queue = new EventQueue();
  let failure: unknown;
  const hearing = hear(source, queue, both)
    .catch((error) => {
      if (!both.aborted) failure = error;
    })
    .finally(() => over.abort());
  try {
    yield* queue.listen(both);
  } finally {
    over.abort();
    await hearing;
  }
  if (signal.aborted || source.api.closed) return;
  throw failure ?? new SkerryError('engine_unavailable', 'the engine no longer tells of its containers');
}

async function hear(source: EventSource, queue: EventQueue, signal: AbortSignal): Promise<void> {
  // The engine keeps its latest events: what happens until it has taken the question is told, too.
  const nowS = Date.now() / 1000;
  const since = source.wholeSeconds ? Math.floor(nowS) : nowS.toFixed(3);
  const filters = JSON.stringify({
    // `died` is Podman's word in the question, `die` in the answer.
    ...{ type: ['container'], event: ['die', 'died', 'oom'], label: [ownFilter(source.identityId)] },
  });
  const bytes = await source.api.open('GET', '/events', { signal, query: { filters, since } });
  let held = '';
  for await (const piece of bytes) {
    held += Buffer.from(piece as Uint8Array).toString('utf8');
    const lines = held.split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const { Action, Actor } = JSON.parse(line) as EngineEvent;
      const uid = uidOf(Actor?.Attributes);
      if (uid === undefined) continue;
      // Where the question fails the engine goes: everything is looked at when it is back.
      const told =
        Action === 'oom' ? source.outOfMemory(uid) : await source.ended(uid).catch(() => undefined);
      if (told) queue.emit(told);
    }
  }
}
