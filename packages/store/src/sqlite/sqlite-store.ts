/**
 * The store in one SQLite file, for one process. Writes go through the commit queue; reads are immediate. The change log
 * is cut by count and by bytes inside the commits, and pages that this frees are given back, so the file stays bounded.
 */
import { statSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import { createChangeWindow, type WindowLimits, weigh } from '../change-window.ts';
import { checkOps, weightOf } from '../check-ops.ts';
import { createLeaseBook, type LeaseClock, systemLeaseClock } from '../leases.ts';
import type { Revision, Store } from '../port.ts';
import { createWatchHub } from '../watch-hub.ts';
import { createCommitQueue } from './commit-queue.ts';
import { type Db, openDb, translate } from './db.ts';
import { createReserve } from './reserve.ts';
import { createTables } from './tables.ts';

export interface SqliteStoreOptions extends WindowLimits {
  /** Of the database file; `-wal` lies beside it. Its folder must exist. */
  readonly path: string;
  readonly leaseClock?: LeaseClock;
  /** Events that a watcher may leave unread. Default 20,000. */
  readonly watchLimitEvents?: number;
  /** Room for small writes on the days when the file system has none: in the file, and in its log. Default: none. */
  readonly reserveBytes?: number;
}

/** Unused pages (4 KiB each) that the file may keep, beside its reserve. Of more, half are given back with each cut of the log, up to 8 MiB. */
const SPARE_PAGES = 1024;
const GIVE_BACK_PAGES = 2048;
/** How often the reserve is looked after. */
const COMMITS_PER_LOOK = 64;
const isFull = (error: unknown) => error instanceof SkerryError && error.code === 'store_full';

/** Errors: store_corrupt, store_locked, store_full, data_folder_invalid. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  const db = openDb(options.path);
  try {
    return createSqliteStore(db, options);
  } catch (error) {
    db.close();
    throw translate(error, options.path);
  }
}

function createSqliteStore(db: Db, options: SqliteStoreOptions): Store {
  const { path } = options;
  const tables = createTables(db);
  const window = createChangeWindow(tables.meta('compacted'), options);
  for (const weight of tables.weights()) window.add(weight);
  const reserve = createReserve(db, options);
  reserve.topUp();
  let closed = false;

  const guard = () => {
    if (closed) throw new SkerryError('unavailable', `the store ${path} is closed`);
  };
  const reading = <T>(read: () => T): T => {
    guard();
    try {
      return read();
    } catch (error) {
      throw translate(error, path);
    }
  };

  const forgetUpTo = (before: Revision) => {
    tables.forget(before);
    tables.setMeta('compacted', before);
  };
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  let cut: Revision | undefined;

  const queue = createCommitQueue(tables.meta('revision'), {
    begin() {
      begin.run();
      cut = window.due();
      if (cut === undefined) return;
      forgetUpTo(cut);
      const spare = tables.sparePages() - reserve.pages;
      if (spare > SPARE_PAGES) tables.giveBack(Math.min(spare >> 1, GIVE_BACK_PAGES));
    },
    finish(at) {
      if (at !== queue.revision) tables.setMeta('revision', at);
    },
    commit: () => void commit.run(),
    rollback() {
      try {
        if (db.inTransaction) db.exec('ROLLBACK');
      } catch {
        // What is left open makes the next BEGIN fail, and that one is told.
      }
    },
    committed(_at, batches) {
      if (cut !== undefined) window.cut(cut);
      for (const { events } of batches) window.add(weigh(events));
      for (const batch of batches) hub.publish(batch);
      if (queue.commits % COMMITS_PER_LOOK === 0) reserve.topUp();
    },
    relieve: (error) => reserve.pages > 0 && isFull(error) && reserve.restartLog(),
    translate: (error) => translate(error, path),
  });

  const hub = createWatchHub(
    {
      revision: () => queue.revision,
      compacted: () => window.compacted,
      read: (prefix, after, upTo) => reading(() => tables.changes(prefix, after, upTo)),
    },
    options.watchLimitEvents,
  );

  const leases = createLeaseBook(options.leaseClock ?? systemLeaseClock, {
    add: (id, ttlMs) =>
      queue.submit(() => {
        tables.addLease(id, ttlMs);
        return { succeeded: true, events: [] };
      }, 64),
    release: (id) => queue.submit((next) => ({ succeeded: true, events: tables.releaseLease(id, next) }), 64),
  });
  for (const { id, ttl_ms } of tables.leases()) leases.adopt(id, ttl_ms);

  return {
    async get(key) {
      return reading(() => tables.entry(key));
    },
    async list(prefix, { limit, after = '' } = {}) {
      const found = reading(() => tables.range(prefix, after, limit === undefined ? -1 : limit + 1));
      const page = limit === undefined ? found : found.slice(0, limit);
      const next = found.length > page.length ? page.at(-1)?.key : undefined;
      return { entries: page, revision: queue.revision, ...(next === undefined ? {} : { next }) };
    },
    async txn(compare, then, orElse = []) {
      guard();
      checkOps(then);
      checkOps(orElse);
      return queue.submit((next) => {
        const succeeded = compare.every(tables.holds);
        const ops = succeeded ? then : orElse;
        for (const op of ops) if ('put' in op && op.lease !== undefined) leases.requireLive(op.lease);
        return { succeeded, events: tables.write(ops, next) };
      }, weightOf(then));
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
      return queue.revision;
    },
    async compact(before) {
      const limit = Math.min(before, queue.revision);
      reading(() => {
        if (limit > window.compacted) {
          db.transaction(() => forgetUpTo(limit))();
          window.cut(limit);
        }
        tables.giveBack();
        db.pragma('wal_checkpoint(TRUNCATE)');
        reserve.topUp();
      });
    },
    stats: () => ({
      commits: queue.commits,
      txns: queue.steps,
      bytes: bytesOf(path) + bytesOf(`${path}-wal`),
      logRows: window.rows,
      logBytes: window.bytes,
      oldestRevision: window.compacted + 1,
    }),
    async close() {
      if (closed) return;
      queue.drain();
      closed = true;
      leases.close();
      hub.close();
      db.close();
    },
  };
}

const bytesOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
