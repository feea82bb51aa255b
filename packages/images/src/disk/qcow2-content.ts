/**
 * What a guest would see of a qcow2 disk: clusters found through its two levels of tables. Only reads, and believes no table:
 * what leads out of the file is refused, what is compressed in a way that is not known here is unknown.
 */
import { inflateRawSync, constants as zlib } from 'node:zlib';
import { type DiskBytes, invalid, isInside } from './disk-bytes.ts';
import type { Qcow2 } from './qcow2.ts';

const PLACE = 0x00fffffffffffe00n; // bits 9 to 55
const COMPRESSED = 1n << 62n;
const ZERO = 1n;
/** Level 2 tables that are looked through: 64 MiB of them are 512 GiB of content in clusters of 64 KiB. */
const CHECK_LIMIT_BYTES = 64 * 1024 * 1024;
/** Of clusters with up to 2 MiB each: the tables and what was unpacked last. */
const CACHED = 8;

export interface Qcow2Usage {
  /** Bytes of the disk that have content. */
  readonly usedBytes: number;
  /** False: the disk is so large that only its beginning was looked through. */
  readonly whole: boolean;
}

const refuse = (why: string): never => {
  throw invalid(`the qcow2 disk is refused: ${why}`);
};

/** Where a cluster's content is. */
type Cluster =
  | { readonly how: 'zeros' }
  | { readonly how: 'plain'; readonly at: number }
  | { readonly how: 'compressed'; readonly at: number; readonly length: number };

class Tables {
  readonly #file: DiskBytes;
  readonly #disk: Qcow2;
  readonly #l1: Buffer;
  readonly #tables = new Map<number, Buffer>();
  readonly #unpacked = new Map<number, Buffer | undefined>();

  constructor(file: DiskBytes, disk: Qcow2) {
    this.#file = file;
    this.#disk = disk;
    this.#l1 = file.read(disk.l1At, disk.l1Entries * 8) ?? refuse('the file is cut off: a table is missing');
  }

  /** Place of a level 2 table; 0 where nothing is written yet. */
  l2At(index: number): number {
    if (index >= this.#disk.l1Entries) return 0;
    return this.#placed(this.#l1.readBigUInt64BE(index * 8) & PLACE, 'a table', this.#disk.clusterBytes);
  }

  l2(at: number): Buffer {
    return remembered(
      this.#tables,
      at,
      () => this.#file.read(at, this.#disk.clusterBytes) ?? refuse('the file is cut off: a table is missing'),
    );
  }

  cluster(entry: bigint): Cluster {
    const { version, extendedL2, clusterBytes } = this.#disk;
    if ((entry & COMPRESSED) !== 0n) {
      // How many of the lower bits are the place depends on the size of clusters; the rest counts sectors after the first.
      const bits = 70n - BigInt(Math.log2(clusterBytes));
      const at = Number(entry & ((1n << bits) - 1n));
      const sectors = Number((entry & (COMPRESSED - 1n)) >> bits) + 1;
      if (at >= this.#file.sizeBytes) refuse('the file is cut off: content is missing');
      return {
        how: 'compressed',
        at,
        length: Math.min(sectors * 512 - (at % 512), this.#file.sizeBytes - at),
      };
    }
    if (version === 3 && !extendedL2 && (entry & ZERO) !== 0n) return { how: 'zeros' };
    // The last cluster of a file may be shorter than a cluster.
    const at = this.#placed(entry & PLACE, 'content', 1);
    return at === 0 ? { how: 'zeros' } : { how: 'plain', at };
  }

  /** A compressed cluster; undefined where it can't be read. */
  unpacked(at: number, length: number): Buffer | undefined {
    const { compression, clusterBytes } = this.#disk;
    if (compression !== 'zlib') return undefined;
    return remembered(this.#unpacked, at, () => {
      const packed = this.#file.read(at, length);
      if (!packed) return undefined;
      try {
        // What follows in the last sector belongs to another cluster, so the end is where a cluster is full.
        const options = { maxOutputLength: clusterBytes, finishFlush: zlib.Z_SYNC_FLUSH };
        const bytes = inflateRawSync(packed, options);
        return bytes.length === clusterBytes ? bytes : undefined;
      } catch {
        return undefined;
      }
    });
  }

  #placed(place: bigint, what: string, leastBytes: number): number {
    const at = Number(place);
    if (at === 0) return 0;
    if (at % this.#disk.clusterBytes !== 0) refuse(`${what} is said to begin at ${at}, which is no cluster`);
    if (!isInside(this.#file.sizeBytes, at, leastBytes))
      refuse(`the file is cut off: ${what} should be at ${at}, the file has ${this.#file.sizeBytes} bytes`);
    return at;
  }
}

function remembered<T>(cache: Map<number, T>, key: number, make: () => T): T {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make();
  if (cache.size >= CACHED) cache.clear();
  cache.set(key, made);
  return made;
}

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
      if (tables.cluster(table.readBigUInt64BE(offset)).how !== 'zeros') usedBytes += disk.clusterBytes;
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
  /** Extended tables tell of each 32nd part of a cluster whether it is written. */
  const unitBytes = extendedL2 ? clusterBytes / 32 : clusterBytes;

  /** Fills a piece that lies in one unit. False: its content is unknown. */
  const fill = (into: Buffer, at: number): boolean => {
    const cluster = Math.floor(at / clusterBytes);
    const l2At = tables.l2At(Math.floor(cluster / perTable));
    if (l2At === 0) return true;
    const table = tables.l2(l2At);
    const offset = (cluster % perTable) * entryBytes;
    const found = tables.cluster(table.readBigUInt64BE(offset));
    const inside = at % clusterBytes;
    if (found.how === 'zeros') return true;
    if (found.how === 'compressed') {
      const bytes = tables.unpacked(found.at, found.length);
      bytes?.copy(into, 0, inside, inside + into.length);
      return bytes !== undefined;
    }
    const part = Math.floor(inside / unitBytes);
    if (extendedL2 && ((table.readUInt32BE(offset + 12) >>> part) & 1) === 0) return true;
    const from = found.at + inside;
    const there = Math.max(0, Math.min(into.length, file.sizeBytes - from));
    if (there === 0) return true;
    const content = file.read(from, there);
    content?.copy(into);
    return content !== undefined;
  };
  return {
    sizeBytes: virtualSizeBytes,
    read(at, length) {
      if (!isInside(virtualSizeBytes, at, length)) return undefined;
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const step = Math.min(length - done, unitBytes - ((at + done) % unitBytes));
        if (!fill(bytes.subarray(done, done + step), at + done)) return undefined;
        done += step;
      }
      return bytes;
    },
  };
}
