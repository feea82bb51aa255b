/**
 * A file that is looked into by pieces. It comes from a stranger and may be huge or sparse: what is read of it in all is
 * bounded, and nothing outside of it is ever asked for.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { SkerryError } from '@skerry/model';

/** Headers, tables, notes and the marks of a family: more than any image that is meant to boot needs of them. */
const READ_LIMIT_BYTES = 48 * 1024 * 1024;

export class ByteSource {
  readonly size: number;
  readonly #read: (into: Buffer, at: number) => number;
  #leftBytes = READ_LIMIT_BYTES;

  constructor(size: number, read: (into: Buffer, at: number) => number) {
    this.size = size;
    this.#read = read;
  }

  /** Whether all of `length` bytes from `at` lie in the file. */
  has(at: number, length: number): boolean {
    return Number.isSafeInteger(at) && Number.isSafeInteger(length) && at >= 0 && length >= 0
      ? at + length <= this.size
      : false;
  }

  /** What there is of `length` bytes from `at`; less at the end of the file. Errors: image_invalid over the limit. */
  read(at: number, length: number): Buffer {
    if (!Number.isSafeInteger(at) || at < 0 || at >= this.size || length <= 0) return Buffer.alloc(0);
    const wanted = Math.min(length, this.size - at);
    this.#leftBytes -= wanted;
    if (this.#leftBytes < 0)
      throw new SkerryError('image_invalid', 'the kernel has more tables than any kernel needs');
    const bytes = Buffer.alloc(wanted);
    return bytes.subarray(0, this.#read(bytes, at));
  }
}

export const bytesOf = (buffer: Uint8Array): ByteSource =>
  new ByteSource(buffer.length, (into, at) => {
    into.set(buffer.subarray(at, at + into.length));
    return Math.min(into.length, buffer.length - at);
  });

/** Opens a file while `look` looks: few small reads, so they need no thread of their own. */
export function withFileBytes<T>(path: string, look: (source: ByteSource) => T): T {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    return look(new ByteSource(size, (into, at) => readSync(file, into, 0, into.length, at)));
  } finally {
    closeSync(file);
  }
}
