/**
 * Ends of containers, heard from the engine. A connection that breaks ends the iteration with an error: whoever listens looks
 * at everything anew when the engine is back, so nothing that happened meanwhile is lost.
 */
import { type Id, SkerryError } from '@skerry/model';
import type { EventQueue } from '../event-queue.ts';
import type { GuestEvent } from '../port.ts';
import type { EngineApi } from './engine-api.ts';
import { ownFilter, uidOf } from './names.ts';

export interface EventSource {
  readonly api: EngineApi;
  readonly identityId: string;
  readonly queue: EventQueue;
  readonly ended: (uid: Id<'instance'>) => Promise<void>;
  readonly outOfMemory: (uid: Id<'instance'>) => void;
}

interface EngineEvent {
  readonly Action?: string;
  readonly Actor?: { readonly Attributes?: Readonly<Record<string, string>> };
}

export async function* engineEvents(source: EventSource, signal: AbortSignal): AsyncGenerator<GuestEvent> {
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  let failure: unknown;
  const hearing = hear(source, both)
    .catch((error) => {
      if (!both.aborted) failure = error;
    })
    .finally(() => over.abort());
  try {
    yield* source.queue.listen(both);
  } finally {
    over.abort();
    await hearing;
  }
  if (signal.aborted || source.api.closed) return;
  throw failure ?? new SkerryError('engine_unavailable', 'the engine no longer tells of its containers');
}

async function hear(source: EventSource, signal: AbortSignal): Promise<void> {
  // The engine keeps its latest events: what happens until it has taken the question is told, too.
  const since = (Date.now() / 1000).toFixed(3);
  const filters = JSON.stringify({
    ...{ type: ['container'], event: ['die', 'oom'], label: [ownFilter(source.identityId)] },
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
      if (Action === 'oom') source.outOfMemory(uid);
      else await source.ended(uid).catch(() => undefined); // the engine goes: everything is looked at when it is back
    }
  }
}
