/**
 * The multiboot 1 header as QEMU looks for it (gnu.org/software/grub/manual/multiboot, 3.1; QEMU's hw/i386/multiboot.c): four-byte aligned
 * in the first 8 KiB, flags and checksum, and with flag 16 the addresses by which a file of any format is loaded.
 */
import type { ByteSource } from './byte-source.ts';

export interface Multiboot {
  readonly flags: number;
  /** Flag 16: it says itself where it is loaded, whatever the file's format is. */
  readonly hasAddresses: boolean;
  /** Why QEMU refuses the addresses. */
  readonly wrong?: string;
}

const MAGIC = 0x1badb002;
const MAGIC_2 = 0xe85250d6;
const SEARCH_BYTES = 8192;
const SEARCH_2_BYTES = 32768;
const ADDRESSES = 0x10000;

export function findMultiboot(source: ByteSource): Multiboot | undefined {
  const head = source.read(0, SEARCH_BYTES);
  for (let at = 0; at + 12 <= head.length; at += 4) {
    if (head.readUInt32LE(at) !== MAGIC) continue;
    const flags = head.readUInt32LE(at + 4);
    if (((MAGIC + flags + head.readUInt32LE(at + 8)) & 0xffffffff) !== 0) continue;
    const hasAddresses = (flags & ADDRESSES) !== 0;
    const wrong = hasAddresses ? wrongAddresses(head, at, source.size) : undefined;
    return { flags, hasAddresses, ...(wrong === undefined ? {} : { wrong }) };
  }
  return undefined;
}

function wrongAddresses(head: Buffer, at: number, sizeBytes: number): string | undefined {
  if (at + 32 > head.length) return 'its multiboot header is cut off';
  const [header, load, loadEnd, bssEnd] = [12, 16, 20, 24].map((offset) =>
    head.readUInt32LE(at + offset),
  ) as [number, number, number, number];
  if (load > header || header - load > at)
    return 'its multiboot header gives addresses before the file begins';
  const from = at - (header - load);
  if (loadEnd !== 0 && (loadEnd < load || loadEnd - load > sizeBytes - from))
    return 'its multiboot header promises more than the file has';
  if (bssEnd !== 0 && bssEnd < (loadEnd === 0 ? load : loadEnd))
    return 'its multiboot header gives memory that ends before it begins';
  return undefined;
}

/** Multiboot 2 is another header, which boot loaders know and QEMU does not. */
export function hasMultiboot2(source: ByteSource): boolean {
  const head = source.read(0, SEARCH_2_BYTES);
  for (let at = 0; at + 16 <= head.length; at += 8) {
    if (head.readUInt32LE(at) !== MAGIC_2) continue;
    const sum = [0, 4, 8, 12].reduce((all, offset) => (all + head.readUInt32LE(at + offset)) >>> 0, 0);
    if (sum === 0) return true;
  }
  return false;
}
