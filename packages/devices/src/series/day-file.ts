/**
 * One day of one project, in a SQLite file that needs no other: points as they came, and their sums by minute and by hour, in
 * one transaction. All is in order of time, so that what is written together lies together and flash is written seldom; a
 * query of one device reads over those of the others.
 *
 * It throws errors of SQLite: who uses it tells a full disk from a damaged file.
 */
import { createHash } from 'node:crypto';
import { existsSync, statSync, unlinkSync } from 'node:fs';
import Database from 'better-sqlite3';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const LEVELS = [
  { table: 'minutes', unitMs: MINUTE_MS },
  { table: 'hours', unitMs: HOUR_MS },
] as const;

export interface NewPoint {
  /** Of the message. */
  readonly id: string;
  readonly series: string;
  readonly device: string;
  readonly field: string;
  readonly atMs: number;
  readonly value: number;
}

const SUMS = `at INTEGER NOT NULL, series INTEGER NOT NULL, count INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL,
  max REAL NOT NULL, last REAL NOT NULL, last_at INTEGER NOT NULL, PRIMARY KEY (at, series)`;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, field TEXT NOT NULL,
    UNIQUE (name, device, field));
  CREATE TABLE IF NOT EXISTS retention (name TEXT PRIMARY KEY, raw_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS points (at INTEGER NOT NULL, series INTEGER NOT NULL, message INTEGER NOT NULL,
    value REAL NOT NULL, PRIMARY KEY (at, series, message)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS minutes (${SUMS}) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS hours (${SUMS}) WITHOUT ROWID;`;
const UPSERT = (table: string) => `
  INSERT INTO ${table} (at, series, count, sum, min, max, last, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (at, series) DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum,
    min = min(min, excluded.min), max = max(max, excluded.max),
    last = CASE WHEN excluded.last_at >= last_at THEN excluded.last ELSE last END,
    last_at = max(last_at, excluded.last_at)`;

/** Known series in memory, per file: of more, SQLite is asked. */
const KNOWN_SERIES = 20_000;

interface Sum {
  readonly at: number;
  readonly series: number;
  count: number;
  sum: number;
  min: number;
  max: number;
  last: number;
  lastAt: number;
}

/** 48 bits of it: that tells messages of the same millisecond of one device and field apart. */
const numberOf = (id: string): number => createHash('sha256').update(id).digest().readUIntBE(0, 6);

export const filesOf = (path: string): readonly string[] => [path, `${path}-wal`, `${path}-shm`];
export function diskBytesOf(path: string): number {
  let bytes = 0;
  for (const file of filesOf(path)) bytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}
export function removeFile(path: string): void {
  for (const file of filesOf(path)) if (existsSync(file)) unlinkSync(file);
}

export class DayFile {
  readonly path: string;
  readonly #db: Database.Database;
  readonly #known = new Map<string, number>();
  readonly #statements: Record<'find' | 'add' | 'point' | 'minutes' | 'hours' | 'keep', Database.Statement>;

  /** Made where it is not there. `walPages`: of 4 KiB, before they go into the file itself. */
  constructor(path: string, walPages: number) {
    this.path = path;
    this.#db = new Database(path);
    try {
      this.#db.pragma('auto_vacuum = INCREMENTAL');
      this.#db.pragma('journal_mode = WAL');
      this.#db.pragma('synchronous = FULL');
      this.#db.pragma(`wal_autocheckpoint = ${walPages}`);
      this.#db.pragma(`journal_size_limit = ${walPages * 4096}`);
      this.#db.pragma('cache_size = -4096');
      this.#db.exec(SCHEMA);
      this.#statements = {
        find: this.#db.prepare('SELECT id FROM series WHERE name = ? AND device = ? AND field = ?').pluck(),
        add: this.#db.prepare('INSERT INTO series (name, device, field) VALUES (?, ?, ?)'),
        point: this.#db.prepare(
          'INSERT OR IGNORE INTO points (at, series, message, value) VALUES (?, ?, ?, ?)',
        ),
        minutes: this.#db.prepare(UPSERT('minutes')),
        hours: this.#db.prepare(UPSERT('hours')),
        keep: this.#db.prepare(
          'INSERT INTO retention VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET raw_ms = excluded.raw_ms WHERE raw_ms <> excluded.raw_ms',
        ),
      };
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Durable when it returns; all or none. Answers how many were new. */
  write(points: readonly NewPoint[], rawMsOf: (series: string) => number): number {
    const added: [string, number][] = [];
    const write = this.#db.transaction(() => {
      const sums = { minutes: new Map<string, Sum>(), hours: new Map<string, Sum>() };
      let fresh = 0;
      for (const name of new Set(points.map(({ series }) => series)))
        this.#statements.keep.run(name, rawMsOf(name));
      for (const point of points) {
        const series = this.#seriesId(point, added);
        const { changes } = this.#statements.point.run(point.atMs, series, numberOf(point.id), point.value);
        if (changes === 0) continue;
        fresh++;
        for (const { table, unitMs } of LEVELS) addTo(sums[table], series, unitMs, point);
      }
      for (const { table } of LEVELS)
        for (const { at, series, count, sum, min, max, last, lastAt } of sums[table].values())
          this.#statements[table].run(at, series, count, sum, min, max, last, lastAt);
      return fresh;
    });
    const fresh = write.immediate();
    if (this.#known.size + added.length > KNOWN_SERIES) this.#known.clear();
    for (const [key, id] of added) if (this.#known.size < KNOWN_SERIES) this.#known.set(key, id);
    return fresh;
  }

  #seriesId({ series, device, field }: NewPoint, added: [string, number][]): number {
    const key = JSON.stringify([series, device, field]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = this.#statements.find.get(series, device, field) as number | undefined;
    const id = found ?? Number(this.#statements.add.run(series, device, field).lastInsertRowid);
    added.push([key, id]);
    return id;
  }

  /** Names of series in it with their retention, as it was when they were last written. */
  retentions(): readonly { readonly name: string; readonly rawMs: number }[] {
    return this.#db.prepare('SELECT name, raw_ms AS rawMs FROM retention').all() as {
      name: string;
      rawMs: number;
    }[];
  }

  /** Takes points or minutes of these series away, and gives their space back. */
  thin(table: 'points' | 'minutes', names: readonly string[]): void {
    const taken = this.#db
      .prepare(
        `DELETE FROM ${table} WHERE series IN (SELECT id FROM series WHERE name IN (SELECT value FROM json_each(?)))`,
      )
      .run(JSON.stringify(names));
    if (taken.changes > 0) this.#giveBack();
  }

  /** Takes the oldest part of what was measured that day away, a tenth of it at least. Answers how many points went. */
  dropOldest(): number {
    const hours = this.#db
      .prepare('SELECT at / 600000 AS part, sum(count) AS points FROM minutes GROUP BY part ORDER BY part')
      .all() as { part: number; points: number }[];
    const all = hours.reduce((sum, { points }) => sum + points, 0);
    let gone = 0;
    let before = 0;
    for (const { part, points } of hours) {
      if (gone * 10 >= all && gone > 0) break;
      gone += points;
      before = (part + 1) * 600_000;
    }
    if (gone === 0) return 0;
    this.#db.transaction(() => {
      for (const table of ['points', 'minutes'])
        this.#db.prepare(`DELETE FROM ${table} WHERE at < ?`).run(before);
      this.#hoursAfter(before);
    })();
    this.#giveBack();
    return gone;
  }

  /** Makes the hour that was cut anew of the minutes that are left of it; its last value is among them. */
  #hoursAfter(beforeMs: number): void {
    const hour = Math.floor(beforeMs / HOUR_MS) * HOUR_MS;
    const left = this.#db
      .prepare(`SELECT series, sum(count) AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max FROM minutes
        WHERE at >= ? AND at < ? GROUP BY series`)
      .all(hour, hour + HOUR_MS) as Omit<Sum, 'at'>[];
    const kept = JSON.stringify(left.map(({ series }) => series));
    this.#db
      .prepare(
        'DELETE FROM hours WHERE at < ? OR (at = ? AND series NOT IN (SELECT value FROM json_each(?)))',
      )
      .run(hour, hour, kept);
    const update = this.#db.prepare(
      'UPDATE hours SET count = ?, sum = ?, min = ?, max = ? WHERE at = ? AND series = ?',
    );
    for (const { count, sum, min, max, series } of left) update.run(count, sum, min, max, hour, series);
  }

  #giveBack(): void {
    this.#db.pragma('incremental_vacuum');
    this.#db.pragma('wal_checkpoint(TRUNCATE)');
  }

  points(): number {
    return this.#db.prepare('SELECT coalesce(sum(count), 0) FROM hours').pluck().get() as number;
  }

  close(): void {
    this.#db.close();
  }
}

function addTo(sums: Map<string, Sum>, series: number, unitMs: number, { atMs, value }: NewPoint): void {
  const at = Math.floor(atMs / unitMs) * unitMs;
  const key = `${at} ${series}`;
  const sum = sums.get(key);
  if (!sum) {
    sums.set(key, { at, series, count: 1, sum: value, min: value, max: value, last: value, lastAt: atMs });
    return;
  }
  sum.count++;
  sum.sum += value;
  sum.min = Math.min(sum.min, value);
  sum.max = Math.max(sum.max, value);
  if (atMs >= sum.lastAt) [sum.last, sum.lastAt] = [value, atMs];
}
