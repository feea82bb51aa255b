/**
 * What a guest would see of a qcow2 disk: clusters found through its two levels of tables. Only reads, and believes no table:
 * what leads out of the file is refused, what is compressed is unknown.
 */
import { type DiskBytes, invalid, isInside } from './disk-bytes.ts';
import type { Qcow2 } from './qcow2.ts';

const PLACE = 0x00fffffffffffe00n; // bits 9 to 55
const COMPRESSED = 1n << 62n;
const ZERO = 1n;
/** Level 2 tables that are looked through: 64 MiB of them are 512 GiB of content in clusters of 64 KiB. */
const CHECK_LIMIT_BYTES = 64 * 1024 * 1024;
const CACHED_TABLES = 8;

export interface Qcow2Usage {
  /** Bytes of the disk that have content. */
  readonly usedBytes: number;
  /** False: the disk is so large that only its beginning was looked through. */
  readonly whole: boolean;
}

class Tables {
  readonly #file: DiskBytes;
  readonly #disk: Qcow2;
  readonly #l1: Buffer;
  readonly #cache = new Map<number, Buffer>();

  constructor(file: DiskBytes, disk: Qcow2) {
    this.#file = file;
    this.#disk = disk;
    this.#l1 = file.read(disk.l1At, disk.l1Entries * 8) ?? refuse('the file is cut off: a table is missing');
  }

  /** Place of a level 2 table; 0 where nothing is written yet. */
  l2At(index: number): number {
    if (index >= this.#disk.l1Entries) return 0;
    return this.#placed(this.#l1.readBigUInt64BE(index * 8) & PLACE, 'a table');
  }

  l2(at: number): Buffer {
    const cached = this.#cache.get(at);
    if (cached) return cached;
    const table =
      this.#file.read(at, this.#disk.clusterBytes) ?? refuse('the file is cut off: a table is missing');
    if (this.#cache.size >= CACHED_TABLES) this.#cache.clear();
    this.#cache.set(at, table);
    return table;
  }

  /** Place of a cluster's content; 0: reads as zeros; undefined: compressed. */
  cluster(entry: bigint): number | undefined {
    if ((entry & COMPRESSED) !== 0n) {
      // The lower bits are the place, in how many depends on the size of clusters.
      const bits = 62n - (BigInt(Math.log2(this.#disk.clusterBytes)) - 8n);
      if ((entry & ((1n << bits) - 1n)) >= BigInt(this.#file.sizeBytes)) refuse('the file is cut off');
      return undefined;
    }
    const zero = this.#disk.version === 3 && !this.#disk.extendedL2 && (entry & ZERO) !== 0n;
    return zero ? 0 : this.#placed(entry & PLACE, 'content');
  }

  #placed(place: bigint, what: string): number {
    const at = Number(place);
    if (at === 0) return 0;
    if (at % this.#disk.clusterBytes !== 0) refuse(`${what} is said to begin at ${at}, which is no cluster`);
    // The last cluster of a file may be shorter than a cluster.
    if (!isInside(this.#file.sizeBytes, at, what === 'a table' ? this.#disk.clusterBytes : 1))
      refuse(`the file is cut off: ${what} should be at ${at}, the file has ${this.#file.sizeBytes} bytes`);
    return at;
  }
}

const refuse = (why: string): never => {
  throw invalid(`the qcow2 disk is refused: ${why}`);
};

/** Looks through the tables. Errors: image_invalid where they lead out of the file. */
export function qcow2Usage(file: DiskBytes, disk: Qcow2): Qcow2Usage {
  const tables = new Tables(file, disk);
  const entryBytes = disk.extendedL2 ? 16 : 8;
  let usedBytes = 0;
  let looked = 0;
  for (let index = 0; index < disk.l1Entries; index++) {
    const at = tables.l2At(index);
    if (at === 0) continue;
    looked += disk.clusterBytes;
    if (looked > CHECK_LIMIT_BYTES) return { usedBytes, whole: false };
    const table = tables.l2(at);
    for (let offset = 0; offset < table.length; offset += entryBytes) {
      if (table.readUInt32BE(offset) === 0 && table.readUInt32BE(offset + 4) === 0) continue;
      if (tables.cluster(table.readBigUInt64BE(offset)) !== 0) usedBytes += disk.clusterBytes;
    }
  }
  return { usedBytes: Math.min(usedBytes, disk.virtualSizeBytes), whole: true };
}

/** Errors (of read): image_invalid where a table leads out of the file. */
export function qcow2Content(file: DiskBytes, disk: Qcow2): DiskBytes {
  const { clusterBytes, virtualSizeBytes, extendedL2 } = disk;
  const tables = new Tables(file, disk);
  const entryBytes = extendedL2 ? 16 : 8;
  const perTable = clusterBytes / entryBytes;
  const piece = (at: number, into: Buffer): boolean => {
    const cluster = Math.floor(at / clusterBytes);
    const l2At = tables.l2At(Math.floor(cluster / perTable));
    if (l2At === 0) return true;
    const table = tables.l2(l2At);
    const offset = (cluster % perTable) * entryBytes;
    const place = tables.cluster(table.readBigUInt64BE(offset));
    if (place === undefined) return false;
    // Of an extended entry, the lower half of the bitmap says which of the 32 parts are written.
    if (place === 0 || (extendedL2 && (table.readUInt32BE(offset + 12) & partsOf(at, into.length)) === 0))
      return true;
    if (
      extendedL2 &&
      (table.readUInt32BE(offset + 12) & partsOf(at, into.length)) !== partsOf(at, into.length)
    )
      return false; // in parts: nobody asks for this
    const from = place + (at % clusterBytes);
    const there = Math.max(0, Math.min(into.length, file.sizeBytes - from));
    const content = file.read(from, there);
    content?.copy(into);
    return content !== undefined;
  };
  const partsOf = (at: number, length: number): number => {
    const part = clusterBytes / 32;
    let mask = 0;
    for (let i = Math.floor((at % clusterBytes) / part); i * part < (at % clusterBytes) + length; i++)
      mask |= 1 << i;
    return mask;
  };
  return {
    sizeBytes: virtualSizeBytes,
    read(at, length) {
      if (!isInside(virtualSizeBytes, at, length)) return undefined;
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const step = Math.min(length - done, clusterBytes - ((at + done) % clusterBytes));
        if (!piece(at + done, bytes.subarray(done, done + step))) return undefined;
        done += step;
      }
      return bytes;
    },
  };
}
