/**
 * The store in one SQLite file. Writers that come in the same turn share one commit, and so one sync: each transaction's
 * comparisons are judged in order inside it, and no promise resolves before it. The change log is compacted by count.
 */
import { statSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import { createLeaseBook, type LeaseClock, systemLeaseClock } from '../leases.ts';
import type { Compare, Op, Revision, Store, TxnResult, WatchBatch } from '../port.ts';
import { createWatchHub } from '../watch-hub.ts';
import { openDb, translate } from './db.ts';
import { createTables } from './tables.ts';

export interface SqliteStoreOptions {
  readonly path: string;
  /** Revisions kept in the change log; a watcher further behind lists again. Default 10,000. */
  readonly keepRevisions?: number;
  readonly leaseClock?: LeaseClock;
  readonly watchLimitEvents?: number;
}

interface Pending {
  readonly compare: readonly Compare[];
  readonly then: readonly Op[];
  readonly orElse: readonly Op[];
  readonly resolve: (result: TxnResult) => void;
  readonly reject: (error: unknown) => void;
}

/** So many transactions share a commit at the most: bounds the time in which the event loop is not served. */
const BATCH = 256;

/** Errors: store_corrupt, store_locked, store_full. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  const { path } = options;
  const keep = options.keepRevisions ?? 10_000;
  const db = openDb(path);
  const tables = createTables(db);
  const hub = createWatchHub(options.watchLimitEvents);
  let revision: Revision = tables.meta('revision');
  let compacted: Revision = tables.meta('compacted');
  let waiting: Pending[] = [];
  let scheduled = false;
  let closed = false;
  let commits = 0;
  let txns = 0;

  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = () => {
    if (db.inTransaction) db.exec('ROLLBACK');
  };

  /** All of `batch` in one commit. Throws with nothing written. */
  const commitAll = (batch: readonly Pending[]): { results: TxnResult[]; batches: WatchBatch[] } => {
    const results: TxnResult[] = [];
    const batches: WatchBatch[] = [];
    let at = revision;
    begin.run();
    try {
      for (const one of batch) {
        const succeeded = one.compare.every(tables.holds);
        const events = tables.write(succeeded ? one.then : one.orElse, at + 1);
        if (events.length > 0) batches.push({ revision: ++at, events });
        results.push({ succeeded, revision: at });
      }
      if (at !== revision) tables.setMeta('revision', at);
      if (at - compacted > keep * 1.25) forgetUpTo(at - keep);
      commit.run();
    } catch (error) {
      rollback();
      compacted = tables.meta('compacted');
      throw translate(error, path);
    }
    commits++;
    txns += batch.length;
    revision = at;
    return { results, batches };
  };

  const forgetUpTo = (before: Revision) => {
    tables.forget(before);
    tables.setMeta('compacted', before);
    compacted = before;
  };

  const settle = (batch: readonly Pending[]) => {
    try {
      const { results, batches } = commitAll(batch);
      for (const events of batches) hub.publish(events);
      batch.forEach((one, i) => void one.resolve(results[i]!));
    } catch (error) {
      // One that can't be written must not spoil the others: each alone.
      if (batch.length === 1) batch[0]!.reject(error);
      else for (const one of batch) settle([one]);
    }
  };

  const flush = () => {
    scheduled = false;
    const batch = waiting.slice(0, BATCH);
    waiting = waiting.slice(BATCH);
    if (waiting.length > 0) schedule();
    if (batch.length > 0) settle(batch);
  };
  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };

  const leases = createLeaseBook(options.leaseClock ?? systemLeaseClock, async (id) => {
    if (closed) return;
    const keys = tables.leasedKeys(id);
    tables.dropLease(id);
    if (keys.length > 0)
      await store.txn(
        [],
        keys.map((key) => ({ delete: key })),
      );
  });
  for (const { id, ttl_ms } of tables.leases()) leases.adopt(id, ttl_ms);

  const guard = () => {
    if (closed) throw new SkerryError('unavailable', `the store ${path} is closed`);
  };

  const store: Store = {
    async get(key) {
      guard();
      return tables.entry(key);
    },
    async list(prefix, { limit, after = '' } = {}) {
      guard();
      const found = tables.range(prefix, after, limit === undefined ? -1 : limit + 1);
      const page = limit === undefined ? found : found.slice(0, limit);
      const next = found.length > page.length ? page.at(-1)?.key : undefined;
      return { entries: page, revision, ...(next === undefined ? {} : { next }) };
    },
    txn(compare, then, orElse = []) {
      return new Promise((resolve, reject) => {
        guard();
        waiting.push({ compare, then, orElse, resolve, reject });
        schedule();
      });
    },
    watch(prefix, { from, signal }) {
      guard();
      const start = from ?? revision;
      if (start < compacted) {
        throw new SkerryError(
          'store_compacted',
          `the change log begins after revision ${compacted}, not at ${start}`,
        );
      }
      return hub.watch(prefix, () => (start < revision ? tables.since(start) : []), signal);
    },
    async lease(ttlMs) {
      guard();
      const lease = leases.grant(ttlMs);
      tables.addLease(lease.id, ttlMs);
      return lease;
    },
    async revision() {
      return revision;
    },
    async compact(before) {
      guard();
      const limit = Math.min(before, revision);
      if (limit <= compacted) return;
      db.transaction(() => forgetUpTo(limit))();
      db.pragma('incremental_vacuum');
      db.pragma('wal_checkpoint(TRUNCATE)');
    },
    stats() {
      const size = (file: string) => {
        try {
          return statSync(file).size;
        } catch {
          return 0;
        }
      };
      return {
        commits,
        txns,
        bytes: size(path) + size(`${path}-wal`),
        logRows: tables.countChanges(),
        oldestRevision: compacted + 1,
      };
    },
    async close() {
      if (closed) return;
      while (waiting.length > 0) flush();
      closed = true;
      leases.close();
      hub.close();
      db.close();
    },
  };
  return store;
}
