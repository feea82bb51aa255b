/**
 * Hands committed batches to watchers in order. Engines call `publish` after the commit, in revision order.
 *
 *   behind --reads the change log, part by part--> live --more than `limit` events unread--> cut off, with an error
 *
 * A watcher that is behind holds one part of the log and no queue, so resuming from far back costs little memory.
 * Nothing is ever skipped silently.
 */
import { SkerryError } from '@skerry/model';
import type { Revision, WatchBatch, WatchEvent } from './port.ts';

const LIMIT_EVENTS = 20_000;
/** Revisions read from the log at once. */
const PART_REVISIONS = 256;

/** The engine's change log. */
export interface ChangeLog {
  revision(): Revision;
  /** The log has what is above this one. */
  compacted(): Revision;
  /** The changes below a prefix, above `after`, up to and including `upTo`. */
  read(prefix: string, after: Revision, upTo: Revision): readonly WatchBatch[];
}

interface Watcher {
  readonly prefix: string;
  queue: WatchBatch[];
  queuedEvents: number;
  overflow: boolean;
  ended: boolean;
  wake: () => void;
}

export interface WatchHub {
  publish(batch: WatchBatch): void;
  watch(prefix: string, from: Revision | undefined, signal: AbortSignal): AsyncIterable<WatchBatch>;
  /** Ends all watchers. */
  close(): void;
}

const keyOf = (event: WatchEvent) => (event.type === 'put' ? event.entry.key : event.key);

/** The part of a batch below a prefix; undefined where nothing is. */
export function selectPrefix(batch: WatchBatch, prefix: string): WatchBatch | undefined {
  if (batch.events.every((event) => keyOf(event).startsWith(prefix))) return batch;
  const events = batch.events.filter((event) => keyOf(event).startsWith(prefix));
  return events.length === 0 ? undefined : { revision: batch.revision, events };
}

export function createWatchHub(log: ChangeLog, limitEvents: number = LIMIT_EVENTS): WatchHub {
  /** All, and those of them that are told of each commit. */
  const watchers = new Set<Watcher>();
  const live = new Set<Watcher>();

  const offer = (watcher: Watcher, batch: WatchBatch) => {
    const part = selectPrefix(batch, watcher.prefix);
    if (!part) return;
    watcher.queuedEvents += part.events.length;
    if (watcher.queuedEvents > limitEvents) {
      watcher.overflow = true;
      watcher.queue = [];
      live.delete(watcher);
    } else watcher.queue.push(part);
    watcher.wake();
  };

  const end = (watcher: Watcher) => {
    watcher.ended = true;
    watchers.delete(watcher);
    live.delete(watcher);
    watcher.wake();
  };

  const compactedAway = (at: Revision) =>
    new SkerryError(
      'store_compacted',
      `the change log reaches from revision ${log.compacted()} to ${log.revision()}, and does not have ${at}`,
      { details: { from: at, oldest: log.compacted(), newest: log.revision() } },
    );

  /** From the log until it is exhausted; in that same turn the watcher becomes live, so nothing comes between. */
  async function* catchUp(watcher: Watcher, from: Revision) {
    for (let at = from; !watcher.ended && !watcher.overflow && !live.has(watcher); ) {
      if (at < log.compacted()) throw compactedAway(at);
      const upTo = Math.min(at + PART_REVISIONS, log.revision());
      const part = log.read(watcher.prefix, at, upTo);
      at = upTo;
      if (at === log.revision()) live.add(watcher);
      for (const batch of part) {
        if (watcher.ended) return;
        yield batch;
      }
    }
  }

  async function* follow(watcher: Watcher) {
    while (!watcher.ended) {
      const ready = watcher.queue;
      watcher.queue = [];
      for (const batch of ready) {
        if (watcher.ended || watcher.overflow) break;
        watcher.queuedEvents -= batch.events.length;
        yield batch;
      }
      if (watcher.ended) return;
      if (watcher.overflow)
        throw new SkerryError(
          'watch_too_slow',
          `the watch of ${watcher.prefix} fell more than ${limitEvents} events behind`,
        );
      if (watcher.queue.length === 0) {
        await new Promise<void>((resolve) => {
          watcher.wake = resolve;
        });
      }
    }
  }

  return {
    publish(batch) {
      for (const watcher of live) offer(watcher, batch);
    },
    watch(prefix, from, signal) {
      const start = from ?? log.revision();
      // Judged and registered now, not at the first read: nothing between this call and that read is missed.
      const refused = !(start >= log.compacted() && start <= log.revision()) && compactedAway(start);
      const watcher: Watcher = {
        prefix,
        queue: [],
        queuedEvents: 0,
        overflow: false,
        ended: signal.aborted,
        wake: () => undefined,
      };
      const onAbort = () => end(watcher);
      if (!watcher.ended && !refused) {
        watchers.add(watcher);
        if (start === log.revision()) live.add(watcher);
        signal.addEventListener('abort', onAbort, { once: true });
      }
      return (async function* () {
        try {
          if (refused) throw refused;
          yield* catchUp(watcher, start);
          yield* follow(watcher);
        } finally {
          signal.removeEventListener('abort', onAbort);
          end(watcher);
        }
      })();
    },
    close() {
      for (const watcher of [...watchers]) end(watcher);
    },
  };
}
