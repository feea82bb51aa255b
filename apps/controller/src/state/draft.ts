/**
 * Changes that are to be committed together: what to put and delete, and what must still be as it was read. A draft is
 * read through, so that what one step plans is what the next one sees. It does nothing until it is committed.
 */
import type { Compare, Op, Revision, Store } from '@skerry/store';
import type { NewEvent } from '../events/event-log.ts';
import { type Collection, keyOf } from './keys.ts';
import type { Kinds, View } from './view.ts';

export interface Draft {
  get<K extends Collection>(collection: K, ...parts: readonly string[]): Kinds[K] | undefined;
  put(key: string, object: object): void;
  delete(key: string): void;
  /** The commit fails unless the key is there. */
  need(key: string): void;
  /** Told to listeners when, and only when, the commit succeeded. */
  event(event: NewEvent): void;
  readonly size: number;
  readonly puts: ReadonlyMap<string, object | undefined>;
  readonly events: readonly NewEvent[];
  /** False: somebody else was first; plan again. `revision` is that of the commit. */
  commit(store: Store): Promise<{ readonly done: boolean; readonly revision: Revision }>;
}

export function createDraft(view: View): Draft {
  const puts = new Map<string, object | undefined>();
  const needs = new Set<string>();
  const read = new Map<string, Revision>();
  const events: NewEvent[] = [];
  const touch = (key: string) => {
    if (!read.has(key)) read.set(key, view.revisionOf(key));
  };
  return {
    puts,
    events,
    get size() {
      return puts.size;
    },
    get(collection, ...parts) {
      const key = keyOf(collection, ...parts);
      return (puts.has(key) ? puts.get(key) : view.byKey(key)) as never;
    },
    put(key, object) {
      touch(key);
      puts.set(key, object);
    },
    delete(key) {
      touch(key);
      puts.set(key, undefined);
    },
    need: (key) => void needs.add(key),
    event: (event) => void events.push(event),
    async commit(store) {
      if (puts.size === 0) return { done: true, revision: view.revision };
      const compare: Compare[] = [];
      const ops: Op[] = [];
      for (const [key, modRevision] of read) compare.push({ key, modRevision });
      for (const key of needs) if (!puts.has(key)) compare.push({ key, exists: true });
      for (const [key, object] of puts) {
        ops.push(object === undefined ? { delete: key } : { put: key, value: JSON.stringify(object) });
      }
      const result = await store.txn(compare, ops);
      await view.reached(result.revision);
      return { done: result.succeeded, revision: result.revision };
    },
  };
}
