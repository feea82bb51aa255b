/**
 * A disk that is looked into: the file itself where it is raw, what its tables lead to where it is not. Disks come from
 * strangers: what is read in all is bounded, and nothing outside is ever asked for.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { SkerryError } from '@skerry/model';

export interface DiskBytes {
  readonly sizeBytes: number;
  /** All of `length` bytes from `at`; undefined where they are not inside or can't be known (compressed, damaged). */
  read(at: number, length: number): Buffer | undefined;
}

/** Tables of a disk with 512 GiB in use, headers, a few folders: more is never needed. */
const READ_LIMIT_BYTES = 160 * 1024 * 1024;

/** 16 TiB: where ext4 with its usual blocks ends, and more than an edge node has. */
export const VIRTUAL_SIZE_LIMIT_BYTES = 16 * 1024 ** 4;

export const invalid = (message: string, cause?: unknown) =>
  new SkerryError('image_invalid', message, { cause });

/** Whether all of `length` bytes from `at` lie in `sizeBytes`. */
export const isInside = (sizeBytes: number, at: number, length: number): boolean =>
  Number.isSafeInteger(at) &&
  Number.isSafeInteger(length) &&
  at >= 0 &&
  length >= 0 &&
  at + length <= sizeBytes;

/** A 64-bit number that has to be a size or place in a file. Undefined: larger than any file. */
export function placeOf(value: bigint): number | undefined {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

/** Errors (of read): image_invalid over the limit. */
export function boundedBytes(
  sizeBytes: number,
  fill: (into: Buffer, at: number) => number,
  limitBytes = READ_LIMIT_BYTES,
): DiskBytes {
  let left = limitBytes;
  return {
    sizeBytes,
    read(at, length) {
      if (!isInside(sizeBytes, at, length)) return undefined;
      left -= length;
      if (left < 0) throw invalid('the disk has larger tables than any disk needs');
      const bytes = Buffer.alloc(length);
      return fill(bytes, at) === length ? bytes : undefined;
    },
  };
}

export const bytesOfDisk = (content: Uint8Array): DiskBytes =>
  boundedBytes(content.length, (into, at) => {
    into.set(content.subarray(at, at + into.length));
    return into.length;
  });

/** Opens a file while `look` looks. The reads are few and small, so they need no thread of their own. */
export function withDiskFile<T>(path: string, look: (bytes: DiskBytes) => T): T {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    return look(boundedBytes(size, (into, at) => readSync(file, into, 0, into.length, at)));
  } finally {
    closeSync(file);
  }
}

/** A part of a disk, as a disk. */
export function partOf(disk: DiskBytes, from: number, sizeBytes: number): DiskBytes {
  return {
    sizeBytes,
    read: (at, length) => (isInside(sizeBytes, at, length) ? disk.read(from + at, length) : undefined),
  };
}
