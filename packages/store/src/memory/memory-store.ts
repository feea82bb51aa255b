/** The store in memory: for tests and as the model that the SQLite engine is compared with. Forgets all at the end. */
import { SkerryError } from '@skerry/model';
import { createChangeWindow, type WindowLimits, weigh } from '../change-window.ts';
import { checkOps } from '../check-ops.ts';
import { compareKeys } from '../key-order.ts';
import { createLeaseBook, type LeaseClock, systemLeaseClock } from '../leases.ts';
import type { Compare, Entry, Op, Revision, Store, WatchBatch, WatchEvent } from '../port.ts';
import { createWatchHub, selectPrefix } from '../watch-hub.ts';

export interface MemoryStoreOptions extends WindowLimits {
  readonly leaseClock?: LeaseClock;
  /** Events that a watcher may leave unread. Default 20,000. */
  readonly watchLimitEvents?: number;
}

export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  const entries = new Map<string, Entry>();
  const window = createChangeWindow(0, options);
  let log: WatchBatch[] = [];
  let revision: Revision = 0;
  let txns = 0;
  let closed = false;

  const hub = createWatchHub(
    {
      revision: () => revision,
      compacted: () => window.compacted,
      // Each revision has its batch, so a revision's place in the log is its distance from the cut.
      read: (prefix, after, upTo) =>
        log
          .slice(after - window.compacted, upTo - window.compacted)
          .flatMap((batch) => selectPrefix(batch, prefix) ?? []),
    },
    options.watchLimitEvents,
  );

  const keysBelow = (prefix: string) =>
    [...entries.keys()].filter((key) => key.startsWith(prefix)).sort(compareKeys);

  const holds = (compare: Compare) => {
    const entry = entries.get(compare.key);
    return 'exists' in compare
      ? compare.exists === (entry !== undefined)
      : compare.modRevision === (entry?.modRevision ?? 0);
  };

  const cut = (before: Revision) => {
    if (before <= window.compacted) return;
    log = log.slice(before - window.compacted);
    window.cut(before);
  };

  const apply = (ops: readonly Op[]) => {
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
      else for (const key of keysBelow(op.deletePrefix)) remove(key);
    }
    if (events.length === 0) return;
    const batch = { revision: ++revision, events };
    log.push(batch);
    window.add(weigh(events));
    cut(window.due() ?? 0);
    hub.publish(batch);
  };

  const leases = createLeaseBook(options.leaseClock ?? systemLeaseClock, {
    add: async () => undefined,
    release: async (id) =>
      apply(keysBelow('').flatMap((key) => (entries.get(key)!.lease === id ? [{ delete: key }] : []))),
  });

  const guard = () => {
    if (closed) throw new SkerryError('unavailable', 'the store in memory is closed');
  };

  return {
    async get(key) {
      guard();
      return entries.get(key);
    },
    async list(prefix, { limit = Number.POSITIVE_INFINITY, after } = {}) {
      guard();
      const keys = keysBelow(prefix).filter((key) => after === undefined || compareKeys(key, after) > 0);
      const page = keys.slice(0, limit);
      const next = keys.length > page.length ? page.at(-1) : undefined;
      return {
        entries: page.map((key) => entries.get(key)!),
        revision,
        ...(next === undefined ? {} : { next }),
      };
    },
    async txn(compare, then, orElse = []) {
      guard();
      checkOps(then);
      checkOps(orElse);
      const succeeded = compare.every(holds);
      const ops = succeeded ? then : orElse;
      for (const op of ops) if ('put' in op && op.lease !== undefined) leases.requireLive(op.lease);
      apply(ops);
      txns++;
      return { succeeded, revision };
    },
    watch(prefix, { from, signal }) {
      guard();
      return hub.watch(prefix, from, signal);
    },
    async lease(ttlMs) {
      guard();
      return leases.grant(ttlMs);
    },
    async revision() {
      guard();
      return revision;
    },
    async compact(before) {
      guard();
      cut(Math.min(before, revision));
    },
    stats: () => ({
      commits: txns,
      txns,
      bytes: 0,
      logRows: window.rows,
      logBytes: window.bytes,
      oldestRevision: window.compacted + 1,
    }),
    async close() {
      closed = true;
      leases.close();
      hub.close();
    },
  };
}
