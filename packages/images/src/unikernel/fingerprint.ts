/** Whether a file is worth a look as a kernel, from its beginning alone. What it is, and whether it is any good, the inspector tells. */
import { bytesOf } from './byte-source.ts';
import { isArm64Image, isEfiProgram } from './families/linux.ts';
import { findMultiboot } from './multiboot.ts';

/** Multiboot headers lie in the first 8 KiB. */
export const KERNEL_HEAD_BYTES = 8192;

export function looksLikeKernel(head: Buffer): boolean {
  if (head.length >= 4 && head.readUInt32BE(0) === 0x7f454c46) return true;
  if (head.toString('latin1', 0x202, 0x206) === 'HdrS') return true;
  const source = bytesOf(head);
  return isArm64Image(source) || isEfiProgram(source) || findMultiboot(source)?.hasAddresses === true;
}
