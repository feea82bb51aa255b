/** The store in memory: for tests and as the model that the SQLite engine is compared with. Forgets all at the end. */
import { SkerryError } from '@skerry/model';
import { createLeaseBook, type LeaseClock, systemLeaseClock } from '../leases.ts';
import type { Compare, Entry, Op, Revision, Store, WatchBatch, WatchEvent } from '../port.ts';
import { createWatchHub } from '../watch-hub.ts';

export interface MemoryStoreOptions {
  /** Revisions kept in the change log. */
  readonly keepRevisions?: number;
  readonly leaseClock?: LeaseClock;
  readonly watchLimitEvents?: number;
}

export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  const keep = options.keepRevisions ?? 10_000;
  const entries = new Map<string, Entry>();
  let log: WatchBatch[] = [];
  let revision: Revision = 0;
  let compacted: Revision = 0;
  let txns = 0;
  const hub = createWatchHub(options.watchLimitEvents);
  const leases = createLeaseBook(options.leaseClock ?? systemLeaseClock, async (id) => {
    const owned = [...entries.values()].filter((entry) => entry.lease === id);
    if (owned.length > 0)
      await store.txn(
        [],
        owned.map((entry) => ({ delete: entry.key })),
      );
  });

  const holds = (compare: Compare) => {
    const entry = entries.get(compare.key);
    return 'exists' in compare
      ? compare.exists === (entry !== undefined)
      : compare.modRevision === (entry?.modRevision ?? 0);
  };

  const apply = (ops: readonly Op[]): WatchEvent[] => {
    const at = revision + 1;
    const events: WatchEvent[] = [];
    const remove = (key: string) => {
      const old = entries.get(key);
      if (!old) return;
      entries.delete(key);
      events.push({ type: 'delete', key, previous: old.value, revision: at });
    };
    for (const op of ops) {
      if ('put' in op) {
        const old = entries.get(op.put);
        const entry: Entry = {
          key: op.put,
          value: op.value,
          createRevision: old?.createRevision ?? at,
          modRevision: at,
          version: (old?.version ?? 0) + 1,
          ...(op.lease === undefined ? {} : { lease: op.lease }),
        };
        entries.set(op.put, entry);
        events.push({ type: 'put', entry, revision: at });
      } else if ('delete' in op) remove(op.delete);
      else
        for (const key of [...entries.keys()].filter((k) => k.startsWith(op.deletePrefix)).sort())
          remove(key);
    }
    return events;
  };

  const store: Store = {
    async get(key) {
      return entries.get(key);
    },
    async list(prefix, { limit = Number.POSITIVE_INFINITY, after } = {}) {
      const keys = [...entries.keys()]
        .filter((key) => key.startsWith(prefix) && (after === undefined || key > after))
        .sort();
      const page = keys.slice(0, limit);
      const more = keys.length > page.length ? page.at(-1) : undefined;
      return {
        entries: page.map((key) => entries.get(key)!),
        revision,
        ...(more === undefined ? {} : { next: more }),
      };
    },
    async txn(compare, then, orElse = []) {
      txns++;
      const succeeded = compare.every(holds);
      const events = apply(succeeded ? then : orElse);
      if (events.length > 0) {
        const batch = { revision: ++revision, events };
        log.push(batch);
        hub.publish(batch);
        if (log.length > keep * 2) await store.compact(revision - keep);
      }
      return { succeeded, revision };
    },
    watch(prefix, { from, signal }) {
      const start = from ?? revision;
      if (start < compacted) {
        throw new SkerryError(
          'store_compacted',
          `the change log begins after revision ${compacted}, not at ${start}`,
        );
      }
      return hub.watch(prefix, () => log.filter((batch) => batch.revision > start), signal);
    },
    async lease(ttlMs) {
      return leases.grant(ttlMs);
    },
    async revision() {
      return revision;
    },
    async compact(before) {
      compacted = Math.max(compacted, Math.min(before, revision));
      log = log.filter((batch) => batch.revision > compacted);
    },
    stats: () => ({ commits: txns, txns, bytes: 0, logRows: log.length, oldestRevision: compacted + 1 }),
    async close() {
      leases.close();
      hub.close();
    },
  };
  return store;
}
