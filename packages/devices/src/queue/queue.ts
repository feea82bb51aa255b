/**
 * A durable queue in a folder of its own: segments that are only appended to, one writer, one reader. What is appended can be
 * read at once; it is durable when `sync` resolved, and many callers share one fdatasync. It never holds more than a little of
 * the data in memory, never gives a position twice, and never takes an acknowledged entry for a new one.
 *
 *     append -> recent (memory) -> segment (disk) -> read -> acknowledge -> the segment's file goes
 */
import {
  type DurableQueue,
  type QueueEntry,
  QueueFull,
  type QueueOptions,
  type QueueStatus,
  type StoredEntry,
} from '../ports.ts';
import { nodeFiles, type QueueFiles } from './files.ts';
import { type Found, readFolder, segmentPath } from './open.ts';
import { Recent } from './recent.ts';
import { decodeAt, encodeAcknowledged, encodeEntry, encodeMark } from './record.ts';
import { Segment } from './segment.ts';

const RECENT_BYTES = 2 ** 20;
/** Appended and not on the disk yet, while the disk takes nothing: beyond it nothing is taken. */
const UNSYNCED_LIMIT_BYTES = 8 * 2 ** 20;
const SEGMENT_BYTES = { least: 64 * 2 ** 10, most: 4 * 2 ** 20 } as const;
/** An eighth: so much goes at once where the oldest go. */
const SEGMENTS = 8;
/** Acknowledgements and what nobody waits for are written after this time. */
const LAZY_MS = 100;
/** No name that a holder would choose. */
const KEPT = '';

const segmentBytesOf = ({ sizeBytes }: QueueOptions): number =>
  Math.max(SEGMENT_BYTES.least, Math.min(SEGMENT_BYTES.most, Math.floor(sizeBytes / SEGMENTS)));

/** Errors: of the file system, where the folder can not be read or made. */
export async function openQueue(
  folder: string,
  options: QueueOptions,
  files: QueueFiles = nodeFiles,
): Promise<DurableQueue> {
  return new SegmentQueue(folder, options, files, await readFolder(files, folder));
}

async function replaceFile(files: QueueFiles, path: string, data: Uint8Array): Promise<void> {
  const file = await files.open(`${path}.new`);
  try {
    await file.truncate(0);
    await file.write(data, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(`${path}.new`, path);
}

class SegmentQueue implements DurableQueue {
  readonly #folder: string;
  readonly #files: QueueFiles;
  #options: QueueOptions;
  readonly #segments: Segment[];
  readonly #recent = new Recent(RECENT_BYTES);
  readonly #marks: Map<string, unknown>;
  readonly #changedMarks = new Set<string>();
  #acknowledged: number;
  #writtenAcknowledged: number;
  #lastPosition: number;
  #durable: number;
  #droppedBySize = 0;
  #droppedByAge = 0;
  #damaged: number;
  #writtenBytes = 0;
  readonly #doomed: Segment[] = [];
  /** Segments of which only what was not dropped is to be written anew. */
  readonly #toShrink = new Set<Segment>();
  #newNames = false;
  #flushing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #lazy: NodeJS.Timeout | undefined;
  readonly #waiters = new Set<() => void>();
  #closed = false;

  constructor(folder: string, options: QueueOptions, files: QueueFiles, found: Found) {
    this.#folder = folder;
    this.#options = options;
    this.#files = files;
    this.#segments = found.segments;
    this.#marks = found.marks;
    this.#acknowledged = found.acknowledged;
    this.#writtenAcknowledged = found.acknowledged;
    this.#lastPosition = found.lastPosition;
    this.#durable = found.lastPosition;
    this.#damaged = found.damaged;
    if (this.#segments.length === 0) this.#roll();
    this.#dropAcknowledged();
  }

  /** Entries after it are kept although they are acknowledged. */
  get #keptFrom(): number {
    return (this.#marks.get(KEPT) as number | undefined) ?? Number.POSITIVE_INFINITY;
  }
  get #active(): Segment {
    return this.#segments.at(-1)!;
  }
  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
  get #diskBytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #roll(): void {
    const base = this.#lastPosition + 1;
    const segment = new Segment(this.#files, segmentPath(this.#folder, base), base);
    this.#segments.push(segment);
    this.#newNames = true;
    // What is to be remembered lies in the newest one: the others may go.
    for (const [name, value] of this.#marks) segment.add(encodeMark(name, value));
    segment.add(encodeAcknowledged(this.#acknowledged));
    this.#changedMarks.clear();
    this.#writtenAcknowledged = this.#acknowledged;
  }

  append(entries: readonly QueueEntry[]): number {
    if (this.#closed) throw new Error('the queue is closed');
    this.#expire();
    const unsynced = this.#segments.reduce((sum, { bytes, durableBytes }) => sum + bytes - durableBytes, 0);
    const bytes = entries.reduce(
      (sum, { data, id, key }) => sum + data.length + id.length + key.length + 31,
      0,
    );
    if (unsynced > UNSYNCED_LIMIT_BYTES) throw new QueueFull('nothing reaches the disk');
    if (this.#options.whenFull === 'wait' && !this.#hasRoom(bytes))
      throw new QueueFull(`it has ${this.#diskBytes} of ${this.#options.sizeBytes} bytes`);
    for (const entry of entries) this.#appendOne(entry);
    this.#wake();
    this.#later();
    return this.#lastPosition;
  }

  #appendOne(entry: QueueEntry): void {
    const record = encodeEntry(entry, this.#lastPosition + 1);
    if (record.length > this.#options.sizeBytes || !this.#makeRoom(record.length, entry.priority)) {
      this.#droppedBySize++;
      return;
    }
    const { bytes, count } = this.#active;
    if (count > 0 && bytes + record.length > segmentBytesOf(this.#options)) this.#roll();
    const position = ++this.#lastPosition;
    this.#active.add(record, { position, atMs: entry.atMs, priority: entry.priority });
    this.#recent.add({ ...entry, position });
  }

  #hasRoom = (bytes: number): boolean => this.#diskBytes + bytes <= this.#options.sizeBytes;

  /** False: the entry itself is what the policy drops. */
  #makeRoom(bytes: number, priority: number): boolean {
    const { whenFull } = this.#options;
    if (whenFull === 'wait' || this.#hasRoom(bytes)) return true;
    if (whenFull === 'newest') return false;
    if (whenFull === 'priority') return this.#dropLeast(bytes, priority);
    if (this.#active.count > 0 && this.#segments.length === 1) this.#roll();
    while (!this.#hasRoom(bytes) && this.#segments.length > 1) this.#dropSegment(this.#segments.shift()!);
    return true;
  }

  #dropSegment(segment: Segment): void {
    for (let index = segment.firstAfter(this.#acknowledged); index < segment.count; index++)
      if (segment.forget(index)) this.#droppedBySize++;
    this.#doomed.push(segment);
  }

  /** Drops entries of the lowest priority, those in the oldest segment first, down to those as low as the new one. */
  #dropLeast(bytes: number, priority: number): boolean {
    let freed = [...this.#toShrink].reduce((sum, segment) => sum + segment.bytes - segment.liveBytes, 0);
    const enough = () => this.#diskBytes - freed + bytes <= this.#options.sizeBytes;
    for (let least = 0; least < priority && !enough(); least++)
      for (const segment of [...this.#segments]) {
        if (enough()) break;
        const before = segment.liveBytes;
        let dropped = 0;
        for (let index = segment.firstAfter(this.#acknowledged); index < segment.count; index++)
          if (segment.priority(index) === least && segment.forget(index)) dropped++;
        if (dropped === 0) continue;
        this.#droppedBySize += dropped;
        freed += before - segment.liveBytes;
        if (segment === this.#active) this.#roll();
        this.#toShrink.add(segment);
      }
    return enough();
  }

  sync(): Promise<void> {
    if (!this.#flushing && !this.#dirty) return Promise.resolve();
    this.#next ??= (async () => {
      await this.#flushing?.catch(() => undefined);
      this.#next = undefined;
      this.#flushing = this.#flush().finally(() => {
        this.#flushing = undefined;
      });
      await this.#flushing;
    })();
    return this.#next;
  }

  get #dirty(): boolean {
    return (
      this.#changedMarks.size > 0 ||
      this.#acknowledged !== this.#writtenAcknowledged ||
      this.#doomed.length > 0 ||
      this.#toShrink.size > 0 ||
      this.#segments.some(({ dirty }) => dirty)
    );
  }

  /** What nobody waits for is written a little later. */
  #later(): void {
    if (this.#lazy || this.#closed) return;
    this.#lazy = setTimeout(() => {
      this.#lazy = undefined;
      if (this.#dirty) this.sync().catch(() => this.#later()); // a full disk: again, as long as it takes
    }, LAZY_MS).unref();
  }

  async #flush(): Promise<void> {
    for (const name of this.#changedMarks) this.#active.add(encodeMark(name, this.#marks.get(name)));
    this.#changedMarks.clear();
    if (this.#acknowledged !== this.#writtenAcknowledged) {
      this.#active.add(encodeAcknowledged(this.#acknowledged));
      this.#writtenAcknowledged = this.#acknowledged;
    }
    const durable = this.#lastPosition;
    try {
      for (const segment of [...this.#segments]) {
        if (!segment.dirty) continue;
        this.#writtenBytes += await segment.flush();
        if (segment !== this.#active) await segment.close();
      }
    } catch (error) {
      // On a full disk this makes room. What they alone remember would be lost, if nothing newer were on the disk.
      if (this.#segments.some(({ durableBytes }) => durableBytes > 0)) await this.#removeDoomed();
      throw error;
    }
    if (this.#newNames) {
      this.#newNames = false;
      await this.#files.syncFolder(this.#folder).catch((error) => {
        this.#newNames = true;
        throw error;
      });
    }
    await this.#removeDoomed();
    this.#durable = Math.max(this.#durable, durable);
    this.#recent.trim(this.#durable);
    for (const segment of [...this.#toShrink]) await this.#shrink(segment);
    this.#wake();
  }

  async #removeDoomed(): Promise<void> {
    for (let segment = this.#doomed[0]; segment; segment = this.#doomed[0]) {
      await segment.remove();
      this.#doomed.shift();
    }
  }

  /** Writes a segment anew without what was dropped. */
  async #shrink(segment: Segment): Promise<void> {
    this.#toShrink.delete(segment);
    const at = this.#segments.indexOf(segment);
    if (at < 0 || segment === this.#active) return;
    if (segment.liveEntries === 0) {
      this.#segments.splice(at, 1);
      await segment.remove();
      return;
    }
    const bytes = await segment.readAll();
    const kept = Array.from({ length: segment.count }, (_, index) => index).filter(
      (index) => !segment.gone(index),
    );
    const piece = (index: number) =>
      bytes.subarray(segment.offset(index), segment.offset(index) + segment.length(index));
    const data = Buffer.concat(kept.map(piece));
    this.#writtenBytes += data.length;
    await replaceFile(this.#files, segment.path, data);
    await this.#files.syncFolder(this.#folder);
    const fresh = new Segment(this.#files, segment.path, segment.base);
    for (const index of kept) {
      const [offset, length] = [fresh.bytes, segment.length(index)];
      fresh.index(segment.position(index), offset, length, segment.atMs(index), segment.priority(index));
      fresh.bytes += length;
      if (segment.gone(index)) fresh.forget(fresh.count - 1); // dropped meanwhile
    }
    fresh.durableBytes = fresh.bytes;
    const now = this.#segments.indexOf(segment);
    if (now >= 0) this.#segments[now] = fresh;
    else this.#doomed.splice(this.#doomed.indexOf(segment), 1, fresh);
    if (fresh.liveEntries < fresh.count) this.#toShrink.add(fresh);
    await segment.close();
  }

  async read(
    after: number,
    limits: { readonly count: number; readonly bytes: number },
  ): Promise<StoredEntry[]> {
    this.#expire();
    const out: StoredEntry[] = [];
    let bytes = 0;
    const full = () => out.length >= limits.count || (out.length > 0 && bytes >= limits.bytes);
    const take = (entry: StoredEntry) => {
      out.push(entry);
      bytes += entry.data.length;
    };
    for (const segment of [...this.#segments]) {
      if (segment.lastPosition <= after) continue;
      for (let index = segment.firstAfter(after); index < segment.count && !full(); ) {
        const held = this.#recent.get(segment.position(index));
        if (held || segment.gone(index)) {
          if (held && !segment.gone(index)) take(held);
          index++;
          continue;
        }
        const end = this.#runEnd(segment, index, limits.count - out.length, limits.bytes - bytes);
        const found = await this.#readRun(segment, index, end);
        // Written anew or dropped while it was read: from where we are.
        if (!this.#segments.includes(segment)) return out.length > 0 ? out : this.read(after, limits);
        for (const entry of found) take(entry);
        index = end;
      }
      if (full()) break;
    }
    return out;
  }

  /** Where a stretch ends that is read from the disk at once. */
  #runEnd(segment: Segment, from: number, count: number, bytes: number): number {
    let end = from + 1;
    const start = segment.offset(from);
    while (
      end < segment.count &&
      end - from < count &&
      segment.offset(end) - start < Math.max(bytes, 1) &&
      !segment.gone(end) &&
      !this.#recent.get(segment.position(end))
    )
      end++;
    return end;
  }

  async #readRun(segment: Segment, from: number, end: number): Promise<StoredEntry[]> {
    const start = segment.offset(from);
    const positions = Array.from({ length: end - from }, (_, at) => segment.position(from + at));
    const offsets = Array.from({ length: end - from }, (_, at) => segment.offset(from + at) - start);
    const length = segment.offset(end - 1) + segment.length(end - 1) - start;
    const bytes = await segment.read(start, length).catch(() => Buffer.alloc(0));
    return offsets.flatMap((offset, at) => {
      const found = decodeAt(bytes, offset);
      if (found?.record.kind === 'entry' && found.record.entry.position === positions[at])
        return [found.record.entry];
      if (this.#segments.includes(segment) && segment.forget(from + at)) this.#damaged++;
      return [];
    });
  }

  /** What is older than it may be. */
  #expire(): void {
    const { ageMs } = this.#options;
    if (ageMs === 0) return;
    const limit = this.#now() - ageMs;
    for (const segment of this.#segments) {
      for (let index = segment.firstAfter(this.#acknowledged); index < segment.count; index++) {
        if (segment.atMs(index) >= limit && !segment.gone(index)) {
          this.#dropAcknowledged();
          return;
        }
        if (segment.forget(index)) this.#droppedByAge++;
      }
    }
    this.#dropAcknowledged();
  }

  more(after: number, signal: AbortSignal): Promise<void> {
    return this.#when(() => this.#lastPosition > after, signal);
  }
  room(bytes: number, signal: AbortSignal): Promise<void> {
    return this.#when(() => this.#options.whenFull !== 'wait' || this.#hasRoom(bytes), signal);
  }
  #when(holds: () => boolean, signal: AbortSignal): Promise<void> {
    if (holds() || signal.aborted || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const look = () => {
        if (!holds() && !signal.aborted && !this.#closed) return;
        this.#waiters.delete(look);
        signal.removeEventListener('abort', look);
        resolve();
      };
      this.#waiters.add(look);
      signal.addEventListener('abort', look);
    });
  }
  #wake(): void {
    for (const look of [...this.#waiters]) look();
  }

  acknowledge(upTo: number): void {
    if (upTo <= this.#acknowledged) return;
    this.#acknowledged = Math.min(upTo, this.#lastPosition);
    this.#dropAcknowledged();
    this.#wake();
    this.#later();
  }
  keepFrom(after: number): void {
    this.mark(KEPT, after);
    this.#dropAcknowledged();
    this.#wake();
  }

  /** Whole segments of which nobody needs an entry any more. */
  #dropAcknowledged(): void {
    const needless = Math.min(this.#acknowledged, this.#keptFrom);
    while (this.#segments.length > 1) {
      const first = this.#segments[0]!;
      const spent = first.lastPosition <= needless;
      if (!spent && !(first.count > 0 && first.liveEntries === 0 && first.lastPosition <= this.#keptFrom))
        return;
      this.#segments.shift();
      this.#doomed.push(first);
      this.#later();
    }
  }

  mark(name: string, value: unknown): void {
    this.#marks.set(name, structuredClone(value));
    this.#changedMarks.add(name);
    this.#later();
  }
  marked(name: string): unknown {
    return this.#marks.get(name);
  }
  setOptions(options: QueueOptions): void {
    this.#options = options;
    this.#wake();
  }

  status(): QueueStatus {
    let [entries, bytes] = [0, 0];
    let oldestAtMs: number | undefined;
    for (const segment of this.#segments)
      for (let index = segment.firstAfter(this.#acknowledged); index < segment.count; index++) {
        if (segment.gone(index)) continue;
        entries++;
        bytes += segment.length(index);
        oldestAtMs ??= segment.atMs(index);
      }
    return {
      ...{ entries, bytes, diskBytes: this.#diskBytes, lastPosition: this.#lastPosition },
      ...{ acknowledged: this.#acknowledged, damaged: this.#damaged, writtenBytes: this.#writtenBytes },
      ...{ droppedBySize: this.#droppedBySize, droppedByAge: this.#droppedByAge },
      ...(oldestAtMs !== undefined && { oldestAtMs }),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#lazy);
    this.#wake();
    try {
      await this.sync();
    } finally {
      for (const segment of [...this.#segments, ...this.#doomed]) await segment.close();
    }
  }
}
