/**
 * What happened, numbered. Events are gathered while a write is under way and then stored together, one block for each
 * write; a listener hears of an event only when it is durable, so no number is ever given twice. The latest are kept.
 */
import type { Event } from '@skerry/model';
import { SkerryError } from '@skerry/model';
import type { Op, Store } from '@skerry/store';
import type { Clock } from '../clock.ts';
import type { Logger } from '../logger.ts';

export type NewEvent = Omit<Event, 'sequence' | 'at'> & { readonly at?: string };

const PREFIX = '/events/';
const KEPT = 10_000;
/** A listener this far behind is cut off with an error. */
const LISTENER_LIMIT = 2_000;
/** While the store can not be written; beyond it the oldest are dropped, and the log says so. */
const QUEUE_LIMIT = 10_000;

export interface EventLog {
  emit(event: NewEvent): void;
  /** Resolves when what was emitted so far is stored, or could not be and is tried again. */
  flushed(): Promise<void>;
  readonly last: number;
  readonly oldest: number;
  /** Those after `since`, in order. Errors: store_compacted where some of them are no longer kept. */
  read(since: number | undefined, limit: number): Event[];
  /** Those after `since`, then each new one. Errors: store_compacted, watch_too_slow. */
  listen(since: number | undefined, signal: AbortSignal): AsyncIterable<Event>;
  start(): Promise<void>;
  /** Stores what is left. */
  stop(): Promise<void>;
}

interface Listener {
  readonly queue: Event[];
  overflow: boolean;
  wake: () => void;
}

const keyOf = (sequence: number) => PREFIX + String(sequence).padStart(15, '0');

export function createEventLog(store: Store, clock: Clock, logger: Logger, kept = KEPT): EventLog {
  let events: Event[] = [];
  let blocks: { key: string; last: number }[] = [];
  let queue: NewEvent[] = [];
  let last = 0;
  let flushing: Promise<void> | undefined;
  let stopped = false;
  let takeBack: (() => void) | undefined;
  const listeners = new Set<Listener>();

  const oldest = () => events[0]?.sequence ?? last + 1;

  /** False where the store refused; nobody tries again at once. */
  const flush = async (): Promise<boolean> => {
    while (queue.length > 0) {
      const batch = queue.splice(0, 1000);
      const numbered = batch.map((event, index) => ({ ...event, sequence: last + 1 + index, at: event.at! }));
      const end = last + numbered.length;
      const key = keyOf(last + 1);
      const ops: Op[] = [{ put: key, value: JSON.stringify(numbered) }];
      const firstKept = blocks.findIndex((block) => block.last > end - kept);
      const old = blocks.slice(0, firstKept < 0 ? blocks.length : firstKept);
      for (const block of old) ops.push({ delete: block.key });
      try {
        await store.txn([], ops);
      } catch (error) {
        queue.unshift(...batch);
        logger.error({ err: error }, 'events can not be stored; they are kept in memory and tried again');
        if (!stopped) takeBack = clock.after(1000, begin);
        return false;
      }
      if (old.length > 0) blocks = blocks.slice(old.length);
      blocks.push({ key, last: end });
      last = end;
      events.push(...numbered);
      if (events.length > kept * 1.1) events = events.slice(-kept);
      for (const listener of listeners) {
        // Once over, nothing is added any more: what was read before the error has no gap.
        listener.overflow ||= listener.queue.length + numbered.length > LISTENER_LIMIT;
        if (!listener.overflow) listener.queue.push(...numbered);
        listener.wake();
      }
    }
    return true;
  };
  const begin = () => {
    if (flushing) return;
    flushing = flush().then((stored) => {
      flushing = undefined;
      if (stored && queue.length > 0) begin();
    });
  };

  const after = (since: number | undefined): Event[] => {
    if (since === undefined || since === 0) return events;
    if (since < oldest() - 1) {
      throw new SkerryError(
        'store_compacted',
        `events up to ${oldest() - 1} are no longer kept, and ${since} was asked for`,
        {
          details: { oldest: oldest() },
        },
      );
    }
    return events.slice(Math.max(0, events.length - (last - since)));
  };

  async function* deliver(listener: Listener, first: readonly Event[], signal: AbortSignal) {
    const onAbort = () => listener.wake();
    signal.addEventListener('abort', onAbort);
    try {
      yield* first;
      while (!signal.aborted) {
        const next = listener.queue.shift();
        if (next) yield next;
        else if (listener.overflow)
          throw new SkerryError('watch_too_slow', `more than ${LISTENER_LIMIT} events were waiting`);
        else {
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
            if (listener.queue.length > 0 || listener.overflow || signal.aborted) resolve();
          });
        }
      }
    } finally {
      listeners.delete(listener);
      signal.removeEventListener('abort', onAbort);
    }
  }

  return {
    emit(event) {
      if (stopped)
        return logger.warn({ reason: event.reason }, 'an event came after the end and is not stored');
      queue.push({ ...event, at: event.at ?? new Date(clock.nowMs()).toISOString() });
      if (queue.length > QUEUE_LIMIT) {
        logger.warn(
          { dropped: queue.length - QUEUE_LIMIT },
          'events were dropped: the store can not be written',
        );
        queue = queue.slice(-QUEUE_LIMIT);
      }
      begin();
    },
    flushed: async () => void (await flushing),
    get last() {
      return last;
    },
    get oldest() {
      return oldest();
    },
    read: (since, limit) => (since ? after(since).slice(0, limit) : after(since).slice(-limit)),
    listen(since, signal) {
      const first = since === undefined ? [] : [...after(since)];
      const listener: Listener = { queue: [], overflow: false, wake: () => undefined };
      listeners.add(listener);
      return deliver(listener, first, signal);
    },
    async start() {
      const { entries } = await store.list(PREFIX);
      for (const entry of entries) {
        const block = JSON.parse(entry.value) as Event[];
        events.push(...block);
        last = block.at(-1)?.sequence ?? last;
        blocks.push({ key: entry.key, last });
      }
      events = events.slice(-kept);
    },
    async stop() {
      stopped = true;
      takeBack?.();
      await flushing;
      if (queue.length > 0) await flush();
    },
  };
}
