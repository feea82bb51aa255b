/**
 * What this node knows of devices, streams and projects: told change by change, kept in a file of its own, so that the node
 * goes on without agent and controller. All of it is in memory, too; the file is read once. It also holds what devices
 * reported of themselves.
 *
 *   reset -> puts -> synced: what was not put meanwhile is gone at `synced`, and not before
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { FeedDevice, FeedItem, FeedObject, FeedProject, FeedStream } from '@skerry/contract';
import Database from 'better-sqlite3';
import type { PasswordKeep } from './passwords.ts';

export type Change =
  | { readonly type: 'put'; readonly object: FeedObject; readonly before: FeedObject | undefined }
  | { readonly type: 'delete'; readonly before: FeedObject };

export interface Reported {
  readonly version: number;
  /** When it was said, in milliseconds since 1970. */
  readonly atMs: number;
  readonly state: Readonly<Record<string, unknown>>;
}

const PASSWORDS_AFTER_MS = 1000;

const keyOf = (kind: string, project: string, name: string) => `${kind}/${project}/${name}`;
const keyOfObject = (object: FeedObject) => keyOf(object.kind, object.project, object.name);

interface ReportedRow {
  readonly key: string;
  readonly uid: string;
  readonly version: number;
  readonly at: number;
  readonly state: string;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reported (
  key TEXT PRIMARY KEY, uid TEXT NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS passwords (digest TEXT PRIMARY KEY, mark BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`;

const isDamage = (error: unknown): boolean =>
  ['SQLITE_CORRUPT', 'SQLITE_NOTADB'].some((code) =>
    String((error as { code?: unknown }).code).startsWith(code),
  );

function opened(path: string): Database.Database {
  const database = new Database(path);
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('cache_size = -512'); // KiB: all is in memory already
    database.exec(SCHEMA);
    const [found] = database.pragma('quick_check(1)') as { quick_check: string }[];
    if (found?.quick_check !== 'ok')
      throw Object.assign(new Error('the directory is damaged'), { code: 'SQLITE_CORRUPT' });
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export class Directory {
  readonly #database: Database.Database;
  readonly #objects = new Map<string, FeedObject>();
  readonly #reported = new Map<string, Reported & { readonly uid: string }>();
  readonly #listeners: ((changes: readonly Change[]) => void)[] = [];
  /** Since a `reset`: what has been put again. */
  #seen: Set<string> | undefined;
  #revision = 0;
  readonly #passwordChanges = new Map<string, Buffer | undefined>();
  #passwordTimer: NodeJS.Timeout | undefined;

  /** A file that is damaged is set aside, and all is told anew. Errors: those of SQLite otherwise. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, 'directory.db');
    try {
      this.#database = opened(path);
    } catch (error) {
      if (!isDamage(error)) throw error;
      for (const end of ['-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
      renameSync(path, `${path}.damaged`);
      this.#database = opened(path);
    }
    const rows = this.#database.prepare('SELECT key, json FROM objects').iterate();
    for (const { key, json } of rows as IterableIterator<{ key: string; json: string }>)
      this.#objects.set(key, JSON.parse(json));
    const told = this.#database.prepare('SELECT key, uid, version, at, state FROM reported').iterate();
    for (const { key, uid, version, at, state } of told as IterableIterator<ReportedRow>)
      this.#reported.set(key, { uid, version, atMs: at, state: JSON.parse(state) });
    this.#revision = Number(this.#fact('revision') ?? 0);
  }

  /** Up to here everything is on the disk. 0: nothing was told yet, or a beginning anew was cut off. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether there is anything to do: a device or a stream. */
  get isWanted(): boolean {
    for (const { kind } of this.#objects.values()) if (kind !== 'project') return true;
    return false;
  }

  device(project: string, name: string): FeedDevice | undefined {
    return this.#objects.get(keyOf('device', project, name)) as FeedDevice | undefined;
  }

  stream(project: string, name: string): FeedStream | undefined {
    return this.#objects.get(keyOf('stream', project, name)) as FeedStream | undefined;
  }

  project(name: string): FeedProject | undefined {
    return this.#objects.get(keyOf('project', name, name)) as FeedProject | undefined;
  }

  *all<K extends FeedObject['kind']>(kind: K): Generator<Extract<FeedObject, { kind: K }>> {
    for (const object of this.#objects.values())
      if (object.kind === kind) yield object as Extract<FeedObject, { kind: K }>;
  }

  onChange(listener: (changes: readonly Change[]) => void): void {
    this.#listeners.push(listener);
  }

  /** Durable when it returns; where it throws, nothing is another than before. Returns the revision to resume from. */
  apply(items: readonly FeedItem[]): number {
    const changes = new Map<string, Change>();
    let revision = this.#revision;
    const put = (object: FeedObject) => {
      const key = keyOfObject(object);
      this.#seen?.add(key);
      const before = first(changes.get(key), this.#objects.get(key));
      this.#objects.set(key, object);
      changes.set(key, { type: 'put', object, before });
    };
    const remove = (key: string) => {
      const now = this.#objects.get(key);
      if (!now) return;
      this.#objects.delete(key);
      const before = first(changes.get(key), now);
      if (before) changes.set(key, { type: 'delete', before });
      else changes.delete(key);
    };
    for (const item of items) {
      if (item.type === 'reset') {
        this.#seen = new Set();
        revision = 0;
      } else if (item.type === 'put') put(item.object);
      else if (item.type === 'delete') remove(keyOf(item.kind, item.project, item.name));
      else {
        const seen = this.#seen;
        this.#seen = undefined;
        if (seen) for (const key of [...this.#objects.keys()]) if (!seen.has(key)) remove(key);
        revision = item.revision;
      }
      // Of one revision there may be several changes: the one before it is sure.
      if ((item.type === 'put' || item.type === 'delete') && !this.#seen)
        revision = Math.max(revision, item.revision - 1);
    }
    try {
      this.#write(changes, revision);
    } catch (error) {
      this.#takeBack(changes);
      throw error;
    }
    this.#revision = revision;
    const list = [...changes.values()];
    if (list.length > 0) for (const listener of this.#listeners) listener(list);
    return revision;
  }

  /** Of a device of that name that was removed meanwhile: undefined. */
  reported({ project, name, uid }: FeedDevice): Reported | undefined {
    const found = this.#reported.get(keyOf('device', project, name));
    return found?.uid === uid ? found : undefined;
  }

  /** Durable when it returns. */
  report({ project, name, uid }: FeedDevice, reported: Reported): void {
    const key = keyOf('device', project, name);
    this.#database
      .prepare('INSERT OR REPLACE INTO reported (key, uid, version, at, state) VALUES (?, ?, ?, ?, ?)')
      .run(key, uid, reported.version, reported.atMs, JSON.stringify(reported.state));
    this.#reported.set(key, { ...reported, uid });
  }

  /** Written a little later, many together: what is lost is computed again. */
  passwordKeep(): PasswordKeep {
    let key = this.#fact('password-key');
    if (key === undefined) {
      key = randomBytes(32).toString('base64');
      this.#database.prepare("INSERT INTO facts (name, value) VALUES ('password-key', ?)").run(key);
    }
    const rows = this.#database.prepare('SELECT digest, mark FROM passwords').all();
    const later = (digest: string, mark: Buffer | undefined) => {
      this.#passwordChanges.set(digest, mark);
      this.#passwordTimer ??= setTimeout(() => this.#writePasswords(), PASSWORDS_AFTER_MS).unref();
    };
    return {
      key: Buffer.from(key, 'base64'),
      known: new Map((rows as { digest: string; mark: Buffer }[]).map(({ digest, mark }) => [digest, mark])),
      keep: later,
      drop: (digest) => later(digest, undefined),
    };
  }

  close(): void {
    this.#writePasswords();
    this.#database.close();
  }

  #writePasswords(): void {
    clearTimeout(this.#passwordTimer);
    this.#passwordTimer = undefined;
    const [put, remove] = [
      this.#database.prepare('INSERT OR REPLACE INTO passwords (digest, mark) VALUES (?, ?)'),
      this.#database.prepare('DELETE FROM passwords WHERE digest = ?'),
    ];
    try {
      this.#database.transaction(() => {
        for (const [digest, mark] of this.#passwordChanges) {
          if (mark) put.run(digest, mark);
          else remove.run(digest);
        }
      })();
    } catch {
      // a full disk: after a restart they are computed again
    }
    this.#passwordChanges.clear();
  }

  /** The disk is full, say: nothing was told, and all is to be told anew. */
  #takeBack(changes: ReadonlyMap<string, Change>): void {
    for (const [key, { before }] of changes) {
      if (before) this.#objects.set(key, before);
      else this.#objects.delete(key);
    }
    this.#seen = undefined;
    this.#revision = 0;
  }

  #fact(name: string): string | undefined {
    const row = this.#database.prepare('SELECT value FROM facts WHERE name = ?').get(name);
    return (row as { value: string } | undefined)?.value;
  }

  #write(changes: ReadonlyMap<string, Change>, revision: number): void {
    const put = this.#database.prepare('INSERT OR REPLACE INTO objects (key, json) VALUES (?, ?)');
    const remove = this.#database.prepare('DELETE FROM objects WHERE key = ?');
    const forget = this.#database.prepare('DELETE FROM reported WHERE key = ?');
    this.#database.transaction(() => {
      for (const [key, change] of changes) {
        if (change.type === 'put') put.run(key, JSON.stringify(change.object));
        else {
          remove.run(key);
          forget.run(key);
        }
      }
      this.#database
        .prepare("INSERT OR REPLACE INTO facts (name, value) VALUES ('revision', ?)")
        .run(String(revision));
    })();
    for (const [key, { type }] of changes) if (type === 'delete') this.#reported.delete(key);
  }
}

/** What was there before the first of several changes of one batch. */
const first = (earlier: Change | undefined, now: FeedObject | undefined): FeedObject | undefined =>
  earlier ? earlier.before : now;
