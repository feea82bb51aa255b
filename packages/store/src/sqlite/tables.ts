/** Prepared statements over the tables, and rows as the port's values. No transaction begins or ends here. */
import type { Compare, Entry, Op, Revision, WatchBatch, WatchEvent } from '../port.ts';
import type { Db } from './db.ts';

interface EntryRow {
  key: string;
  value: string;
  create_revision: number;
  mod_revision: number;
  version: number;
  lease: string | null;
}
interface ChangeRow {
  revision: number;
  key: string;
  value: string | null;
  previous: string | null;
  create_revision: number | null;
  version: number | null;
  lease: string | null;
}

const toEntry = (row: EntryRow): Entry => ({
  key: row.key,
  value: row.value,
  createRevision: row.create_revision,
  modRevision: row.mod_revision,
  version: row.version,
  ...(row.lease === null ? {} : { lease: row.lease }),
});

const toEvent = (row: ChangeRow): WatchEvent =>
  row.value === null
    ? {
        type: 'delete',
        key: row.key,
        revision: row.revision,
        ...(row.previous === null ? {} : { previous: row.previous }),
      }
    : {
        type: 'put',
        revision: row.revision,
        entry: toEntry({
          key: row.key,
          value: row.value,
          create_revision: row.create_revision!,
          mod_revision: row.revision,
          version: row.version!,
          lease: row.lease,
        }),
      };

/** Above all that begins with `prefix`: a byte 0xFF is in no UTF-8 text. Bound as a blob, cast to text by the statement. */
const endOf = (prefix: string) => Buffer.concat([Buffer.from(prefix), END]);
const END = Buffer.from([0xff]);

export function createTables(db: Db) {
  const get = db.prepare<[string], EntryRow>('SELECT * FROM entry WHERE key = ?');
  const list = db.prepare<[string, Buffer, string, number], EntryRow>(
    'SELECT * FROM entry WHERE key >= ? AND key < CAST(? AS TEXT) AND key > ? ORDER BY key LIMIT ?',
  );
  const put = db.prepare(
    'INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision, version = excluded.version, lease = excluded.lease',
  );
  const remove = db.prepare('DELETE FROM entry WHERE key = ?');
  const log = db.prepare('INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const changes = db.prepare<[number, number, string, Buffer], ChangeRow>(
    `SELECT * FROM change WHERE revision > ? AND revision <= ? AND key >= ? AND key < CAST(? AS TEXT)
     ORDER BY revision, position`,
  );
  const weights = db.prepare<[], { rows: number; bytes: number }>(
    `SELECT count(*) AS rows, sum(octet_length(key) + octet_length(coalesce(value, previous))) AS bytes
     FROM change GROUP BY revision ORDER BY revision`,
  );
  const forget = db.prepare('DELETE FROM change WHERE revision <= ?');
  const getMeta = db.prepare<[string], { number: number }>('SELECT number FROM meta WHERE name = ?');
  const setMeta = db.prepare('UPDATE meta SET number = ? WHERE name = ?');
  const leased = db.prepare<[string], EntryRow>('SELECT * FROM entry WHERE lease = ? ORDER BY key');
  const addLease = db.prepare('INSERT OR REPLACE INTO lease VALUES (?, ?)');
  const dropLease = db.prepare('DELETE FROM lease WHERE id = ?');
  const leases = db.prepare<[], { id: string; ttl_ms: number }>('SELECT * FROM lease');
  const spare = db.prepare<[], number>('PRAGMA freelist_count').pluck();

  const entry = (key: string): Entry | undefined => {
    const row = get.get(key);
    return row && toEntry(row);
  };
  const range = (prefix: string, after: string, limit: number) =>
    list.all(prefix, endOf(prefix), after, limit).map(toEntry);
  const erase = (old: Entry, at: Revision, position: number): WatchEvent => {
    remove.run(old.key);
    log.run(at, position, old.key, null, old.value, null, null, null);
    return { type: 'delete', key: old.key, previous: old.value, revision: at };
  };

  return {
    entry,
    range,
    holds(compare: Compare): boolean {
      const row = get.get(compare.key);
      return 'exists' in compare
        ? compare.exists === (row !== undefined)
        : compare.modRevision === (row?.mod_revision ?? 0);
    },
    /** Writes the operations as revision `at` with their change log; returns the events in order. */
    write(ops: readonly Op[], at: Revision): WatchEvent[] {
      const events: WatchEvent[] = [];
      for (const op of ops) {
        if ('put' in op) {
          const old = get.get(op.put);
          const created = old?.create_revision ?? at;
          const version = (old?.version ?? 0) + 1;
          const lease = op.lease ?? null;
          put.run(op.put, op.value, created, at, version, lease);
          log.run(at, events.length, op.put, op.value, null, created, version, lease);
          const row = {
            key: op.put,
            value: op.value,
            create_revision: created,
            mod_revision: at,
            version,
            lease,
          };
          events.push({ type: 'put', entry: toEntry(row), revision: at });
        } else if ('delete' in op) {
          const old = entry(op.delete);
          if (old) events.push(erase(old, at, events.length));
        } else for (const old of range(op.deletePrefix, '', -1)) events.push(erase(old, at, events.length));
      }
      return events;
    },
    /** The change log below a prefix, above `after`, up to and including `upTo`: a batch for each revision. */
    changes(prefix: string, after: Revision, upTo: Revision): WatchBatch[] {
      const batches: { revision: Revision; events: WatchEvent[] }[] = [];
      for (const row of changes.all(after, upTo, prefix, endOf(prefix))) {
        if (batches.at(-1)?.revision !== row.revision) batches.push({ revision: row.revision, events: [] });
        batches.at(-1)!.events.push(toEvent(row));
      }
      return batches;
    },
    forget: (revision: Revision) => void forget.run(revision),
    meta: (name: 'revision' | 'compacted') => getMeta.get(name)!.number,
    setMeta: (name: 'revision' | 'compacted', number: number) => void setMeta.run(number, name),
    /** Rows and bytes of each revision in the change log, in order. */
    weights: () => weights.all(),
    /** Deletes a lease, and what it holds as revision `at`. */
    releaseLease(id: string, at: Revision): WatchEvent[] {
      dropLease.run(id);
      return leased.all(id).map((row, position) => erase(toEntry(row), at, position));
    },
    addLease: (id: string, ttlMs: number) => void addLease.run(id, ttlMs),
    leases: () => leases.all(),
    /** Pages of the file that hold nothing. */
    sparePages: () => spare.get()!,
    /** Shortens the file by so many of them; by all, if not told. */
    giveBack: (pages = 0) => db.exec(`PRAGMA incremental_vacuum(${pages})`),
  };
}
export type Tables = ReturnType<typeof createTables>;
