/**
 * The one place that knows better-sqlite3: opening, pragmas, schema, and SQLite's errors as ours.
 * WAL with synchronous=FULL: a commit returns when the log is synced (sqlite.org/pragma.html#pragma_synchronous).
 */
import { chmodSync } from 'node:fs';
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
  const code = (error as { code?: string } | undefined)?.code ?? '';
  const options = { cause: error };
  if (/^SQLITE_(FULL|IOERR_WRITE|IOERR_FSYNC|IOERR_SHMSIZE)/.test(code)) {
    return new SkerryError(
      'store_full',
      `${path} could not be written: no space on its file system`,
      options,
    );
  }
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code))
    return new SkerryError('store_corrupt', `${path} is damaged (${code})`, options);
  if (/^SQLITE_(BUSY|LOCKED)/.test(code))
    return new SkerryError('store_locked', `${path} is held by another process`, options);
  return error;
}

/** Errors: store_corrupt, store_locked, store_full. */
export function openDb(path: string): Db {
  let db: Db | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    chmodSync(path, 0o600);
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
      'store_corrupt',
      `${path} was written by a newer Skerry (schema ${at}, known ${SCHEMA_VERSION})`,
    );
  }
  for (let version = at; version < SCHEMA_VERSION; version++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[version]!);
      db.pragma(`user_version = ${version + 1}`);
    })();
  }
}
