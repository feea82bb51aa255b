/** One file of a queue: what lies in it, by position, without the data; and what has to be written to it yet. */
import type { QueueFile, QueueFiles } from './files.ts';

/** Numbers in a growing typed array: a queue of a hundred thousand messages must not be a hundred thousand objects. */
class Column<A extends Float64Array | Uint32Array | Uint8Array> {
  #values: A;
  readonly #make: (length: number) => A;
  length = 0;

  constructor(make: (length: number) => A) {
    this.#make = make;
    this.#values = make(16);
  }
  push(value: number): void {
    if (this.length === this.#values.length) {
      const wider = this.#make(this.length * 2);
      wider.set(this.#values as never);
      this.#values = wider;
    }
    this.#values[this.length++] = value;
  }
  at(index: number): number {
    return this.#values[index]!;
  }
  set(index: number, value: number): void {
    this.#values[index] = value;
  }
}

/** In the place of a priority: the entry is gone. */
const GONE = 255;

export class Segment {
  readonly path: string;
  /** No entry in it has a lower position. */
  readonly base: number;
  readonly #files: QueueFiles;
  #file: Promise<QueueFile> | undefined;
  #positions = new Column((length) => new Float64Array(length));
  #offsets = new Column((length) => new Uint32Array(length));
  #lengths = new Column((length) => new Uint32Array(length));
  #moments = new Column((length) => new Float64Array(length));
  #priorities = new Column((length) => new Uint8Array(length));
  /** With what is not written yet. */
  bytes = 0;
  durableBytes = 0;
  /** From `durableBytes` on; let go only when it is durable: after a failed sync nobody knows what is on the disk. */
  #unsynced: Buffer[] = [];
  lastPosition: number;
  liveEntries = 0;
  liveBytes = 0;

  constructor(files: QueueFiles, path: string, base: number) {
    this.#files = files;
    this.path = path;
    this.base = base;
    this.lastPosition = base - 1;
  }

  get dirty(): boolean {
    return this.#unsynced.length > 0;
  }
  get count(): number {
    return this.#positions.length;
  }

  #opened(): Promise<QueueFile> {
    this.#file ??= this.#files.open(this.path).catch((error) => {
      this.#file = undefined;
      throw error;
    });
    return this.#file;
  }

  /** A record that is in the file already. */
  index(position: number, offset: number, length: number, atMs: number, priority: number): void {
    this.#positions.push(position);
    this.#offsets.push(offset);
    this.#lengths.push(length);
    this.#moments.push(atMs);
    this.#priorities.push(priority);
    this.lastPosition = position;
    this.liveEntries++;
    this.liveBytes += length;
  }

  add(record: Buffer, entry?: { position: number; atMs: number; priority: number }): void {
    if (entry) this.index(entry.position, this.bytes, record.length, entry.atMs, entry.priority);
    this.#unsynced.push(record);
    this.bytes += record.length;
  }

  /** Index of the first entry after a position; `count` where there is none. */
  firstAfter(position: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#positions.at(middle) > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }
  position = (index: number): number => this.#positions.at(index);
  offset = (index: number): number => this.#offsets.at(index);
  length = (index: number): number => this.#lengths.at(index);
  atMs = (index: number): number => this.#moments.at(index);
  priority = (index: number): number => this.#priorities.at(index);
  gone = (index: number): boolean => this.#priorities.at(index) === GONE;
  /** Whether it was there until now. */
  forget(index: number): boolean {
    if (this.gone(index)) return false;
    this.#priorities.set(index, GONE);
    this.liveEntries--;
    this.liveBytes -= this.#lengths.at(index);
    return true;
  }

  /** Writes what is not on the disk yet and syncs it. Bytes that were written. On an error all of it is written again the next time. */
  async flush(): Promise<number> {
    const taken = this.#unsynced.length;
    if (taken === 0) return 0;
    const data = taken === 1 ? this.#unsynced[0]! : Buffer.concat(this.#unsynced.slice(0, taken));
    const file = await this.#opened();
    await file.write(data, this.durableBytes);
    await file.sync();
    this.#unsynced = this.#unsynced.slice(taken);
    this.durableBytes += data.length;
    return data.length;
  }

  async read(at: number, bytes: number): Promise<Buffer> {
    const found = await (await this.#opened()).read(at, bytes);
    return Buffer.from(found.buffer, found.byteOffset, found.byteLength);
  }
  async readAll(): Promise<Buffer> {
    return this.read(0, await (await this.#opened()).size());
  }
  async cutTo(bytes: number): Promise<void> {
    const file = await this.#opened();
    if ((await file.size()) > bytes) {
      await file.truncate(bytes);
      await file.sync();
    }
    this.bytes = bytes;
    this.durableBytes = bytes;
  }
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await (await file?.catch(() => undefined))?.close();
  }
  async remove(): Promise<void> {
    await this.close();
    await this.#files.remove(this.path);
  }
}
