/**
 * The boot header of a Linux kernel (docs.kernel.org/arch/x86/boot.html) and of an arm64 `Image`
 * (docs.kernel.org/arch/arm64/booting.html).
 */
import type { ByteSource } from '../byte-source.ts';

export interface BzImage {
  readonly protocol: string;
  readonly version?: string;
}

const SECTOR_BYTES = 512;
const VERSION_LIMIT = 128;

/** Undefined: none. A string: why it can't be read. */
export function readBzImage(source: ByteSource): BzImage | string | undefined {
  const head = source.read(0, 0x260);
  if (head.length < 0x206 || head.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  if (head.length < 0x260) return 'the header of the Linux kernel is cut off';
  const protocol = head.readUInt16LE(0x206);
  if (protocol < 0x200) return 'the Linux kernel has a boot header before version 2.00';
  const setupBytes = ((head[0x1f1] || 4) + 1) * SECTOR_BYTES;
  const bodyBytes = head.readUInt32LE(0x1f4) * 16;
  // Before 2.04 the upper half of the length was not told. It counts in paragraphs of 16 bytes, the last may be half full.
  if (protocol >= 0x204 && setupBytes + bodyBytes - 15 > source.size)
    return `the Linux kernel is cut off: it has ${source.size} bytes of ${setupBytes + bodyBytes}`;
  const pointer = head.readUInt16LE(0x20e);
  const at = pointer + SECTOR_BYTES;
  const text = pointer > 0 && at < setupBytes ? source.read(at, VERSION_LIMIT).toString('latin1') : '';
  const version = text.split('\0')[0]!.replace(/[^\x20-\x7e]/g, '?');
  return {
    protocol: `${protocol >> 8}.${String(protocol & 255).padStart(2, '0')}`,
    ...(version ? { version } : {}),
  };
}

export function isArm64Image(source: ByteSource): boolean {
  const head = source.read(0, 64);
  return head.length === 64 && head.toString('latin1', 0x38, 0x3c) === 'ARM\x64';
}

/** A program for UEFI: PE with the subsystem "EFI application" or of a driver (UEFI 2.10, 2.1.1). */
export function isEfiProgram(source: ByteSource): boolean {
  const head = source.read(0, 64);
  if (head.length < 64 || head.toString('latin1', 0, 2) !== 'MZ') return false;
  const pe = source.read(head.readUInt32LE(0x3c), 24 + 70);
  if (pe.length < 24 + 70 || pe.toString('latin1', 0, 4) !== 'PE\0\0') return false;
  const subsystem = pe.readUInt16LE(24 + 68);
  return subsystem >= 10 && subsystem <= 13;
}
