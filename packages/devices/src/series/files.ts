/**
 * The files of all projects of a node: which there are, how many are open, how much they take. Keeps them under a bound (the
 * oldest goes first), sets a damaged one aside, takes away what is past its retention.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import { nodeFiles } from '../queue/files.ts';
import { DayFile, diskBytesOf, removeFile } from './day-file.ts';
import { DAY_MS, dayOf, dayOfFile, dayStartMs } from './places.ts';
import type { Day } from './reading.ts';

/** Connections that write, open at once: most points are of today, a few late ones of days before. */
const OPEN_FILES = 8;
const DAMAGED = '.damaged';

export interface Retention {
  readonly rawMs: number;
  readonly minutesMs: number;
  readonly hoursMs: number;
}

export const isDamage = (error: unknown): boolean =>
  /^SQLITE_(CORRUPT|NOTADB)/.test(String((error as { code?: unknown }).code));

export class SeriesFiles {
  readonly folder: string;
  #sizeBytes: number;
  readonly #onDamage: (day: string, error: unknown) => void;
  readonly #open = new Map<string, DayFile>();
  /** Bytes by path of the file, with its log; of what is set aside, too. */
  readonly #bytes = new Map<string, number>();
  #total = 0;
  droppedBySize = 0;
  damaged = 0;

  constructor(folder: string, sizeBytes: number, onDamage: (day: string, error: unknown) => void) {
    this.folder = folder;
    this.#onDamage = onDamage;
    this.#sizeBytes = sizeBytes;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const project of readdirSync(folder, { withFileTypes: true })) {
      if (!project.isDirectory()) continue;
      for (const name of readdirSync(join(folder, project.name))) {
        const path = join(folder, project.name, name);
        if (dayOfFile(name) || name.endsWith(DAMAGED)) this.#measure(path);
      }
    }
  }

  get diskBytes(): number {
    return this.#total;
  }
  bytesOf(path: string): number {
    return this.#bytes.get(path) ?? 0;
  }
  setSize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
  }

  #measure(path: string): void {
    const bytes = diskBytesOf(path);
    this.#total += bytes - (this.#bytes.get(path) ?? 0);
    if (bytes > 0) this.#bytes.set(path, bytes);
    else this.#bytes.delete(path);
  }

  /** Days of a project, oldest first. */
  days(folder: string): Day[] {
    return [...this.#bytes.keys()]
      .filter((path) => dirname(path) === folder)
      .flatMap((path) => {
        const day = dayOfFile(basename(path));
        const inode = statSync(path, { throwIfNoEntry: false })?.ino;
        return day === undefined || inode === undefined ? [] : [{ day, path, inode }];
      })
      .sort((a, b) => (a.day < b.day ? -1 : 1));
  }

  /** Does `work` on a file, made where it is not there; one that is damaged is set aside, and a new one takes its place. */
  async on<Result>(path: string, work: (file: DayFile) => Result): Promise<Result> {
    for (let again = false; ; again = true) {
      try {
        const file = await this.#opened(path);
        try {
          return work(file);
        } finally {
          this.#measure(path);
        }
      } catch (error) {
        if (isDamage(error) && !again) {
          this.setAside(path, error);
          continue;
        }
        throw refusal(error);
      }
    }
  }

  async #opened(path: string): Promise<DayFile> {
    const open = this.#open.get(path);
    if (open) {
      this.#open.delete(path);
      this.#open.set(path, open);
      return open;
    }
    const fresh = !this.#bytes.has(path);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = new DayFile(path, Math.min(1000, Math.max(32, Math.floor(this.#sizeBytes / 65_536))));
    this.#open.set(path, file);
    for (const other of [...this.#open.keys()].slice(0, -OPEN_FILES)) this.#shut(other);
    this.#measure(path);
    if (fresh) {
      await nodeFiles.syncFolder(dirname(path));
      await nodeFiles.syncFolder(this.folder);
      const still = this.#open.get(path);
      if (still !== file) return this.#opened(path);
    }
    return file;
  }

  #shut(path: string): void {
    this.#open.get(path)?.close();
    this.#open.delete(path);
    this.#measure(path);
  }

  /** Its data stay to be looked at until the bound or the longest retention takes them. */
  setAside(path: string, error: unknown, inode?: number): void {
    const found = statSync(path, { throwIfNoEntry: false })?.ino;
    // A reader may tell of one in whose place there is a new one already.
    if (found === undefined || (inode !== undefined && inode !== found)) return;
    try {
      this.#shut(path);
    } catch {
      this.#open.delete(path);
    }
    renameSync(path, path + DAMAGED);
    removeFile(path);
    this.#measure(path);
    this.#measure(path + DAMAGED);
    this.damaged++;
    this.#onDamage(basename(path).slice(0, 10), error);
  }

  #remove(path: string): void {
    this.#shut(path);
    removeFile(path);
    this.#measure(path);
  }

  /** Makes room: what is oldest of all projects goes, whole days first, of the last one its oldest part. */
  async makeRoom(moreBytes: number): Promise<void> {
    while (this.#total + moreBytes > this.#sizeBytes) {
      // What is damaged goes first: a space sorts before all.
      const rank = (path: string) => (path.endsWith(DAMAGED) ? ' ' : '') + basename(path);
      const oldest = [...this.#bytes.keys()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
      const path = oldest[0];
      if (path === undefined) return;
      if (path.endsWith(DAMAGED)) {
        this.#remove(path);
        continue;
      }
      const newestDay = basename(oldest.at(-1)!) === basename(path);
      const gone = newestDay && (await this.on(path, (file) => file.dropOldest()));
      if (gone) this.droppedBySize += gone;
      else {
        this.droppedBySize += await this.on(path, (file) => file.points());
        this.#remove(path);
      }
      await breathe();
    }
  }

  /** Takes away what is past its retention, by whole days. `retentionOf`: of a series, with what its file says of it. */
  async tidy(
    nowMs: number,
    retentionOf: (folder: string, name: string, rawMs: number) => Retention,
    signal: AbortSignal,
  ): Promise<void> {
    for (const path of [...this.#bytes.keys()].sort()) {
      if (signal.aborted) return;
      const day = basename(path).slice(0, 10);
      const ageMs = nowMs - (dayStartMs(day) + DAY_MS);
      if (!(ageMs > 0) || !this.#bytes.has(path)) continue;
      if (path.endsWith(DAMAGED)) {
        if (ageMs > 90 * DAY_MS) this.#remove(path);
        continue;
      }
      const gone = await this.on(path, (file) => {
        const all = file
          .retentions()
          .map(({ name, rawMs }) => ({ name, ...retentionOf(dirname(path), name, rawMs) }));
        if (all.every(({ hoursMs }) => ageMs >= hoursMs)) return true;
        const past = (key: 'rawMs' | 'minutesMs') =>
          all.filter((one) => ageMs >= one[key]).map(({ name }) => name);
        for (const [table, names] of [
          ['points', past('rawMs')],
          ['minutes', past('minutesMs')],
        ] as const)
          if (names.length > 0) file.thin(table, names);
        return false;
      });
      if (gone) this.#remove(path);
      else if (day !== dayOf(nowMs)) this.#shut(path);
      await breathe();
    }
  }

  /** With all that it has. */
  removeProject(folder: string): void {
    for (const path of [...this.#bytes.keys()]) if (dirname(path) === folder) this.#remove(path);
    rmSync(folder, { recursive: true, force: true });
  }

  close(): void {
    for (const path of [...this.#open.keys()]) this.#shut(path);
  }
}

function refusal(error: unknown): unknown {
  const code = String((error as { code?: unknown }).code);
  if (code === 'SQLITE_FULL' || code === 'ENOSPC')
    return new SkerryError('unavailable', 'the time series take nothing now: the disk is full', {
      cause: error,
    });
  if (code.startsWith('SQLITE_'))
    return new SkerryError('unavailable', `the time series take nothing now: ${(error as Error).message}`, {
      cause: error,
    });
  return error;
}
