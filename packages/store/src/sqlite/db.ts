/**
 * The one place that knows better-sqlite3: opening, pragmas, schema, and SQLite's errors as ours.
 * WAL with synchronous=FULL: a commit returns when the log is synced (sqlite.org/pragma.html#pragma_synchronous).
 */
import { chmodSync, closeSync, openSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import Database from 'better-sqlite3';

export type Db = Database.Database;

const SCHEMA_VERSION = 1;
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE entry (
     key TEXT PRIMARY KEY, value TEXT NOT NULL,
     create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT
   ) WITHOUT ROWID;
   CREATE INDEX entry_lease ON entry (lease) WHERE lease IS NOT NULL;
   CREATE TABLE change (
     revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL,
     value TEXT, previous TEXT, create_revision INTEGER, version INTEGER, lease TEXT,
     PRIMARY KEY (revision, position)
   ) WITHOUT ROWID;
   CREATE TABLE lease (id TEXT PRIMARY KEY, ttl_ms INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
   INSERT INTO meta VALUES ('revision', 0), ('compacted', 0);`,
];

/** SQLite's failure as ours; anything else as it was. */
export function translate(error: unknown, path: string): unknown {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (error instanceof SkerryError || typeof code !== 'string') return error;
  const options = { cause: error };
  // SQLite itself says FULL for ENOSPC; a quota or a failing device are the others.
  if (/^SQLITE_(FULL|IOERR_(WRITE|FSYNC|TRUNCATE))/.test(code))
    return new SkerryError(
      'store_full',
      `${path} can not be written (${code}): its file system is full, over quota or failing`,
      options,
    );
  if (/^SQLITE_(CORRUPT|NOTADB|IOERR_(READ|SHORT_READ|CORRUPTFS|DATA))/.test(code))
    return new SkerryError('store_corrupt', `${path} is damaged (${code})`, options);
  if (/^SQLITE_(BUSY|LOCKED)/.test(code))
    return new SkerryError('store_locked', `${path} is held by another process`, options);
  if (/^SQLITE_(CANTOPEN|READONLY|PERM|AUTH)|^E[A-Z]+$/.test(code))
    return new SkerryError('data_folder_invalid', `${path} can not be opened for writing (${code})`, options);
  return error;
}

/**
 * Made for its owner alone from the first moment; SQLite gives the write-ahead log the same mode. Only with `wx`:
 * closing a second descriptor of an open database would drop this process's locks (sqlite.org/howtocorrupt.html, 2.2).
 */
function create(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    chmodSync(path, 0o600);
  }
}

/** Errors: store_corrupt, store_locked, store_full, data_folder_invalid. */
export function openDb(path: string): Db {
  let db: Db | undefined;
  try {
    create(path);
    db = new Database(path, { timeout: 0 });
    // EXCLUSIVE: one process; also spares the shared-memory file.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('auto_vacuum = INCREMENTAL');
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 1000');
    db.pragma('journal_size_limit = 4194304');
    db.pragma('cache_size = -4096');
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    throw translate(error, path);
  }
}

function migrate(db: Db, path: string): void {
  const at = db.pragma('user_version', { simple: true }) as number;
  if (at > SCHEMA_VERSION) {
    throw new SkerryError(
      'data_folder_invalid',
      `${path} was written by a newer Skerry (schema ${at}; this one knows ${SCHEMA_VERSION})`,
    );
  }
  for (let version = at; version < SCHEMA_VERSION; version++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[version]!);
      db.pragma(`user_version = ${version + 1}`);
    })();
  }
}
