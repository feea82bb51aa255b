/**
 * How much of the change log is kept: so many revisions, so many bytes. It counts; the engines delete. The log goes a
 * sixteenth over before it is cut, so that a cut is not made for each commit.
 */
import type { Revision, WatchEvent } from './port.ts';

export interface WindowLimits {
  /** Default 10,000. */
  readonly keepRevisions?: number;
  /** Of keys and values. Default 16 MiB. The newest revision stays, whatever it weighs. */
  readonly keepBytes?: number;
}

interface Weight {
  readonly rows: number;
  readonly bytes: number;
}

export interface ChangeWindow extends Weight {
  /** The next revision; they have no holes. */
  add(weight: Weight): void;
  /** Up to where the log is to be cut now; undefined while it is small enough. */
  due(): Revision | undefined;
  /** The log was cut, up to and including `before`. */
  cut(before: Revision): void;
  readonly compacted: Revision;
}

const SLACK = 16;

/** Bytes of keys and values, one for each UTF-16 unit: an estimate where they are not ASCII. */
export function weigh(events: readonly WatchEvent[]): Weight {
  let bytes = 0;
  for (const event of events)
    bytes +=
      event.type === 'put'
        ? event.entry.key.length + event.entry.value.length
        : event.key.length + (event.previous?.length ?? 0);
  return { rows: events.length, bytes };
}

export function createChangeWindow(compactedAt: Revision, limits: WindowLimits = {}): ChangeWindow {
  const { keepRevisions = 10_000, keepBytes = 16 * 1024 * 1024 } = limits;
  let kept: Weight[] = [];
  let compacted = compactedAt;
  let rows = 0;
  let bytes = 0;
  const over = (value: number, limit: number) => value > limit + Math.floor(limit / SLACK);
  return {
    add(weight) {
      kept.push(weight);
      rows += weight.rows;
      bytes += weight.bytes;
    },
    due() {
      if (!over(kept.length, keepRevisions) && !over(bytes, keepBytes)) return undefined;
      let count = 0;
      let rest = bytes;
      while (count < kept.length - 1 && (kept.length - count > keepRevisions || rest > keepBytes))
        rest -= kept[count++]!.bytes;
      return count === 0 ? undefined : compacted + count;
    },
    cut(before) {
      if (before <= compacted) return;
      for (const gone of kept.slice(0, before - compacted)) {
        rows -= gone.rows;
        bytes -= gone.bytes;
      }
      kept = kept.slice(before - compacted);
      compacted = before;
    },
    get rows() {
      return rows;
    },
    get bytes() {
      return bytes;
    },
    get compacted() {
      return compacted;
    },
  };
}
