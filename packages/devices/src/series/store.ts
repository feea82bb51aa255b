/**
 * The local time series of a node. Each project has files of its own, and is never answered from another's; a message is in
 * one file, wholly or not, and known there by its id. It holds no value in memory.
 */
import type { HubCall, SeriesPoint, SeriesQuery } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Outgoing, Sink } from '../ports.ts';
import { csvOf } from './csv.ts';
import type { NewPoint } from './day-file.ts';
import { isDamage, type Retention, SeriesFiles } from './files.ts';
import { parquetOf } from './parquet.ts';
import { DAY_MS, dayOf, dayPath, projectFolder } from './places.ts';
import { type Day, lastOf, pointsOf, type SeriesSummary, summaries } from './reading.ts';
import { readingsOf } from './values.ts';

export const DEFAULT_RAW_MS = 7 * DAY_MS;
const MINUTES_MS = 90 * DAY_MS;
const HOURS_MS = 730 * DAY_MS;
/** A clock of a device may be ahead of the node's by so much. */
const AHEAD_MS = DAY_MS;
const BATCH = 500;
/** What a point takes at the most while it is written, in pages of the file and of its log; measured below 200. */
const POINT_BYTES = 256;
const ROOM_BYTES = 64 * 1024;

export interface SeriesOptions {
  /** Of all projects together, with the logs of the files. */
  readonly sizeBytes: number;
  readonly now: () => number;
  /** A file that was set aside, or trouble while old data were taken away. */
  readonly trouble?: (text: string, error: unknown) => void;
}
export interface SeriesStatus {
  /** New points written since it was opened. */
  readonly points: number;
  /** Messages or values that can not be stored: no number, or a time too old or ahead. */
  readonly refused: number;
  readonly droppedBySize: number;
  /** Files that were set aside. */
  readonly damaged: number;
  readonly diskBytes: number;
}
export interface SeriesSinkOptions {
  readonly fields?: readonly string[] | undefined;
  readonly retentionMs?: number | undefined;
}
export interface SeriesStore {
  sink(project: string, name: string, options?: SeriesSinkOptions): Sink;
  list(project: string, signal?: AbortSignal): Promise<SeriesSummary[]>;
  /** In order of time; what a reader does not take is not read. */
  query(query: SeriesQuery, signal?: AbortSignal): AsyncGenerator<SeriesPoint>;
  /** The newest point of each device and field. */
  last(project: string, series: string, signal?: AbortSignal): AsyncGenerator<SeriesPoint>;
  export(query: SeriesQuery, format: 'csv' | 'parquet', signal?: AbortSignal): AsyncGenerator<Uint8Array>;
  /** The verbs of series as a node is asked for them. */
  call(call: Extract<HubCall, { verb: `series-${string}` }>, signal: AbortSignal): AsyncGenerator<unknown>;
  /** Takes away what is past its retention; done each day by itself. */
  tidy(): Promise<void>;
  /** A project that is no more: nothing of it stays. */
  remove(project: string): Promise<void>;
  setSize(sizeBytes: number): void;
  status(): SeriesStatus;
  close(): Promise<void>;
}

export async function openSeries(folder: string, options: SeriesOptions): Promise<SeriesStore> {
  return new Store(folder, options);
}

class Store implements SeriesStore {
  readonly #options: SeriesOptions;
  readonly #files: SeriesFiles;
  readonly #ending = new AbortController();
  /** Retention of raw points by folder of the project and name, as streams say now. */
  readonly #rawMs = new Map<string, number>();
  #tail: Promise<unknown> = Promise.resolve();
  #points = 0;
  #refused = 0;
  #tidied = '';
  readonly #daily: NodeJS.Timeout;
  /** The clock may be set back: what was not ahead once is not ahead later. */
  #latestMs = 0;

  constructor(folder: string, options: SeriesOptions) {
    this.#options = options;
    this.#files = new SeriesFiles(folder, options.sizeBytes, (day, error) =>
      options.trouble?.(`the time series of ${day} are damaged and were set aside`, error),
    );
    // Retention holds where nothing is written any more, too.
    void this.tidy();
    this.#daily = setInterval(() => void this.tidy(), DAY_MS).unref();
  }

  /** One after the other: of writes, room made and days taken away. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  #folder(project: string): string {
    return projectFolder(this.#files.folder, project);
  }

  sink(project: string, name: string, { fields, retentionMs }: SeriesSinkOptions = {}): Sink {
    const folder = this.#folder(project);
    const key = JSON.stringify([folder, name]);
    this.#rawMs.set(key, retentionMs ?? this.#rawMs.get(key) ?? DEFAULT_RAW_MS);
    return {
      ...{ kind: 'series', batch: BATCH },
      deliver: async (batch, signal) => {
        signal.throwIfAborted();
        await this.#inTurn(() => this.#write(folder, project, name, fields, batch));
        if (this.#tidied !== dayOf(this.#now())) void this.tidy();
      },
      close: async () => undefined,
    };
  }

  #now(): number {
    const nowMs = this.#options.now();
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    return nowMs;
  }

  #retention = (folder: string, name: string, kept?: number): Retention => {
    const rawMs = this.#rawMs.get(JSON.stringify([folder, name])) ?? kept ?? DEFAULT_RAW_MS;
    return { rawMs, minutesMs: Math.max(rawMs, MINUTES_MS), hoursMs: Math.max(rawMs, HOURS_MS) };
  };

  async #write(
    folder: string,
    project: string,
    series: string,
    fields: readonly string[] | undefined,
    batch: readonly Outgoing[],
  ): Promise<void> {
    if (this.#ending.signal.aborted)
      throw new SkerryError('unavailable', 'the time series of this node are closed');
    const nowMs = this.#now();
    const days = new Map<string, NewPoint[]>();
    let refused = 0;
    for (const { id, device, atMs, payload, project: from } of batch) {
      if (from !== project)
        throw new SkerryError('internal', `a message of project ${from} came to a series of ${project}`);
      const oldestMs = nowMs - this.#retention(folder, series).hoursMs;
      if (!Number.isSafeInteger(atMs) || atMs < oldestMs || atMs < 0 || atMs > this.#latestMs + AHEAD_MS) {
        refused++;
        continue;
      }
      const found = readingsOf(payload, fields);
      refused += found.refused;
      for (const reading of found.readings) {
        const day = dayOf(atMs);
        const points = days.get(day) ?? [];
        if (points.length === 0) days.set(day, points);
        points.push({ id, series, device, atMs, ...reading });
      }
    }
    for (const [day, points] of days) {
      await this.#files.makeRoom(ROOM_BYTES + points.length * POINT_BYTES);
      this.#points += await this.#files.on(dayPath(folder, day), (file) =>
        file.write(points, (name) => this.#retention(folder, name).rawMs),
      );
    }
    // Counted when the batch is done: one that is delivered again counts once.
    this.#refused += refused;
  }

  #broken = (day: Day, error: unknown): void => {
    if ((error as { code?: unknown }).code === 'SQLITE_CANTOPEN') return; // taken away meanwhile
    if (!isDamage(error)) throw error;
    this.#files.setAside(day.path, error, day.inode);
  };

  list(project: string, signal: AbortSignal = this.#ending.signal): Promise<SeriesSummary[]> {
    const days = this.#files.days(this.#folder(project));
    return summaries(days, ({ path }) => this.#files.bytesOf(path), signal, this.#broken);
  }

  query(query: SeriesQuery, signal: AbortSignal = this.#ending.signal): AsyncGenerator<SeriesPoint> {
    if (query.stepMs !== undefined && !(Number.isSafeInteger(query.stepMs) && query.stepMs > 0))
      throw new SkerryError('request_invalid', 'the step of a query is a number of milliseconds from 1');
    return pointsOf(query, this.#files.days(this.#folder(query.project)), signal, this.#broken);
  }

  last(project: string, series: string, signal: AbortSignal = this.#ending.signal) {
    return lastOf(series, this.#files.days(this.#folder(project)), signal, this.#broken);
  }

  export(query: SeriesQuery, format: 'csv' | 'parquet', signal?: AbortSignal) {
    const points = this.query(query, signal);
    return format === 'csv' ? csvOf(points) : parquetOf(points);
  }

  async *call(call: Extract<HubCall, { verb: `series-${string}` }>, signal: AbortSignal) {
    if (call.verb === 'series-list') yield* await this.list(call.project, signal);
    else if (call.verb === 'series-query') yield* this.query(call.query, signal);
    else if (call.verb === 'series-last') yield* this.last(call.project, call.series, signal);
    else
      for await (const bytes of this.export(call.query, call.format, signal))
        yield { data: Buffer.from(bytes).toString('base64') };
  }

  async tidy(): Promise<void> {
    const nowMs = this.#now();
    this.#tidied = dayOf(nowMs);
    await this.#inTurn(() => this.#files.tidy(nowMs, this.#retention, this.#ending.signal)).catch((error) =>
      this.#options.trouble?.('old time series could not be taken away', error),
    );
  }

  remove(project: string): Promise<void> {
    return this.#inTurn(async () => this.#files.removeProject(this.#folder(project)));
  }

  setSize(sizeBytes: number): void {
    this.#files.setSize(sizeBytes);
  }

  status(): SeriesStatus {
    const { droppedBySize, damaged, diskBytes } = this.#files;
    return { points: this.#points, refused: this.#refused, droppedBySize, damaged, diskBytes };
  }

  async close(): Promise<void> {
    clearInterval(this.#daily);
    this.#ending.abort();
    await this.#tail;
    this.#files.close();
  }
}
