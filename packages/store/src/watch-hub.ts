/**
 * Hands committed batches to watchers in order. A watcher that falls more than `limit` events behind is cut off with an
 * error, never skipped silently. Engines call `publish` after the commit, in revision order.
 */
import { SkerryError } from '@skerry/model';
import type { Revision, WatchBatch, WatchEvent } from './port.ts';

const LIMIT_EVENTS = 20_000;

interface Watcher {
  readonly prefix: string;
  readonly queue: WatchBatch[];
  queuedEvents: number;
  overflow: boolean;
  closed: boolean;
  wake: () => void;
}

export interface WatchHub {
  publish(batch: WatchBatch): void;
  /** `backlog` gives what is in the change log above a revision, read in the same turn in which the watcher is added. */
  watch(prefix: string, backlog: () => readonly WatchBatch[], signal: AbortSignal): AsyncIterable<WatchBatch>;
  /** Ends all watchers. */
  close(): void;
}

const keyOf = (event: WatchEvent) => (event.type === 'put' ? event.entry.key : event.key);

/** The part of a batch below a prefix; undefined where nothing is. */
export function selectPrefix(batch: WatchBatch, prefix: string): WatchBatch | undefined {
  const events = batch.events.filter((event) => keyOf(event).startsWith(prefix));
  return events.length === 0 ? undefined : { revision: batch.revision as Revision, events };
}

export function createWatchHub(limitEvents: number = LIMIT_EVENTS): WatchHub {
  const watchers = new Set<Watcher>();

  const offer = (watcher: Watcher, batch: WatchBatch) => {
    const part = selectPrefix(batch, watcher.prefix);
    if (!part || watcher.overflow) return;
    watcher.queuedEvents += part.events.length;
    if (watcher.queuedEvents > limitEvents) {
      watcher.overflow = true;
      watcher.queue.length = 0;
    } else watcher.queue.push(part);
    watcher.wake();
  };

  async function* read(watcher: Watcher, backlog: readonly WatchBatch[], signal: AbortSignal) {
    const onAbort = () => {
      watcher.closed = true;
      watcher.wake();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (const batch of backlog) {
        if (signal.aborted) return;
        const part = selectPrefix(batch, watcher.prefix);
        if (part) yield part;
      }
      while (!watcher.closed && !signal.aborted) {
        const next = watcher.queue.shift();
        if (next) {
          watcher.queuedEvents -= next.events.length;
          yield next;
        } else if (watcher.overflow) {
          throw new SkerryError(
            'watch_too_slow',
            `the watch of ${watcher.prefix} fell more than ${limitEvents} events behind`,
          );
        } else {
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
            if (watcher.queue.length > 0 || watcher.closed || watcher.overflow) resolve();
          });
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      watchers.delete(watcher);
    }
  }

  return {
    publish(batch) {
      for (const watcher of watchers) offer(watcher, batch);
    },
    watch(prefix, backlog, signal) {
      // Registered now, not at the first read: nothing between this call and that read is missed.
      const watcher: Watcher = {
        prefix,
        queue: [],
        queuedEvents: 0,
        overflow: false,
        closed: false,
        wake: () => undefined,
      };
      const before = backlog();
      watchers.add(watcher);
      if (signal.aborted) watchers.delete(watcher);
      return read(watcher, before, signal);
    },
    close() {
      for (const watcher of watchers) {
        watcher.closed = true;
        watcher.wake();
      }
      watchers.clear();
    },
  };
}
