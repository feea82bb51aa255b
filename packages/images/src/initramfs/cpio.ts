/**
 * What a kernel takes as its first file system: archives of cpio's form "newc", one behind the other, each plain or packed
 * (docs.kernel.org/driver-api/early-userspace/buffer-format.html). Only headers are read, and only of what is plain; of what
 * is packed the first bytes are looked at elsewhere.
 */
import { SkerryError } from '@skerry/model';
import type { ByteSource } from '../unikernel/byte-source.ts';

/** `lz4`: the legacy form, the only one that Linux unpacks. */
export type Packing = 'none' | 'gzip' | 'xz' | 'zstd' | 'lz4';

export interface InitramfsFacts {
  readonly format: 'cpio';
  /** Of the last archive, which has the system; plain ones before it bring microcode. */
  readonly packing: Packing;
  readonly archives: number;
  /** Of the plain archives. */
  readonly entries: number;
}

const HEADER_BYTES = 110;
/** "newc" without and with sums. */
const MAGIC = /^07070[12][0-9a-fA-F]{104}$/;
/** Fields of 8 hexadecimal digits behind the magic: the length of the content, and of the name. */
const SIZE_AT = 6 + 6 * 8;
const NAME_SIZE_AT = 6 + 11 * 8;
/** PATH_MAX of Linux, which refuses longer ones. */
const NAME_LIMIT_BYTES = 4096;
const TRAILER = 'TRAILER!!!';
/** More than the largest of any distribution has; each costs a read. */
const ENTRIES_LIMIT = 100_000;
const ARCHIVES_LIMIT = 8;
/** Zeros between two archives: what tools fill up to. */
const PADDING_LIMIT_BYTES = 1024 * 1024;

const PACKED: readonly (readonly [Exclude<Packing, 'none'>, Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['lz4', Buffer.from([0x02, 0x21, 0x4c, 0x18])],
];

const refuse = (message: string) => new SkerryError('image_invalid', message);
const aligned = (at: number) => Math.ceil(at / 4) * 4;

/** Whether an archive begins there. */
export const isCpio = (head: Uint8Array): boolean =>
  MAGIC.test(Buffer.from(head.subarray(0, HEADER_BYTES)).toString('latin1'));

/**
 * Whether a file in lz4's legacy form begins with an archive: nothing can be repeated yet, so that the first bytes of the
 * first block are there as they are (the magic, its length, then a token whose upper half counts them: LZ4 block format 1.6).
 */
export function isCpioInLz4(head: Buffer): boolean {
  if (head.length < 16 || !head.subarray(0, 4).equals(PACKED[3]![1])) return false;
  const literals = head[8]! >> 4;
  if (literals < 6) return false;
  let at = 9;
  if (literals === 15) while (head[at++] === 255);
  return /^07070[12]$/.test(head.toString('latin1', at, at + 6));
}

/** Errors: image_invalid with what is wrong. */
export function readInitramfs(source: ByteSource): InitramfsFacts {
  let at = 0;
  let entries = 0;
  for (let archives = 1; archives <= ARCHIVES_LIMIT; archives++) {
    const end = readArchive(source, at, ENTRIES_LIMIT - entries);
    entries += end.entries;
    at = skipZeros(source, end.at);
    if (at >= source.size) return { format: 'cpio', packing: 'none', archives, entries };
    const head = source.read(at, HEADER_BYTES);
    if (isCpio(head)) continue;
    const packed = PACKED.find(([, magic]) => head.subarray(0, magic.length).equals(magic));
    if (packed) return { format: 'cpio', packing: packed[0], archives: archives + 1, entries };
    throw refuse(`the initramfs goes on after ${at} bytes with something that is neither cpio nor packed`);
  }
  throw refuse(`the initramfs has more than ${ARCHIVES_LIMIT} archives, one behind the other`);
}

function readArchive(source: ByteSource, begin: number, limit: number): { at: number; entries: number } {
  let at = begin;
  for (let entries = 0; entries <= limit; entries++) {
    const header = source.read(at, HEADER_BYTES);
    if (header.length < HEADER_BYTES) throw refuse('the initramfs is cut off: its archive has no end');
    if (!isCpio(header))
      throw refuse(`the initramfs is damaged: there is no header ${at} bytes after its begin`);
    const number = (where: number) => Number.parseInt(header.toString('latin1', where, where + 8), 16);
    const nameBytes = number(NAME_SIZE_AT);
    if (nameBytes < 1 || nameBytes > NAME_LIMIT_BYTES)
      throw refuse(`the initramfs is damaged: a name of ${nameBytes} bytes ${at} bytes after its begin`);
    const content = aligned(at + HEADER_BYTES + nameBytes);
    const isLast =
      nameBytes === TRAILER.length + 1 &&
      source.read(at + HEADER_BYTES, TRAILER.length).toString('latin1') === TRAILER;
    if (isLast) return { at: at + HEADER_BYTES + nameBytes, entries };
    at = aligned(content + number(SIZE_AT));
    if (at > source.size) throw refuse('the initramfs is cut off: its last file has no end');
  }
  throw refuse(`the initramfs has more than ${ENTRIES_LIMIT} files`);
}

function skipZeros(source: ByteSource, begin: number): number {
  for (let at = begin; at < source.size; ) {
    if (at - begin > PADDING_LIMIT_BYTES)
      throw refuse(`the initramfs has ${PADDING_LIMIT_BYTES} zeros behind an archive`);
    const piece = source.read(at, 4096);
    const found = piece.findIndex((byte) => byte !== 0);
    if (found >= 0) return at + found;
    at += piece.length;
  }
  return source.size;
}
