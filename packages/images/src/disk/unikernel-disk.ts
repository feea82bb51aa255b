/**
 * Unikernels that come as whole disks, with their program and its settings inside: Nanos and OSv. They are images of the kind
 * `unikernel` whose facts say `format: 'disk'`, so that the unikernel runtime boots them, with the machine that fits.
 */
import type { DiskBytes } from './disk-bytes.ts';
import type { Partition } from './partitions.ts';

export interface DiskUnikernel {
  readonly family: 'nanos' | 'osv';
  /** OSv's: what it runs, as it stands in the disk's second sector. */
  readonly commandLine?: string;
}

const COMMAND_LINE_AT = 512;
const COMMAND_LINE_BYTES = 512;
const LINUX_KIND = '0x83';

/** A text up to a zero byte. */
function textAt(disk: DiskBytes): string | undefined {
  const bytes = disk.read(COMMAND_LINE_AT, COMMAND_LINE_BYTES);
  const end = bytes?.indexOf(0) ?? -1;
  if (!bytes || end < 1) return undefined;
  const text = bytes.subarray(0, end);
  return text.every((byte) => byte >= 0x20 && byte < 0x7f) ? text.toString('latin1') : undefined;
}

export function diskUnikernel(disk: DiskBytes, partitions: readonly Partition[]): DiskUnikernel | undefined {
  if (partitions.some(({ kind, fileSystem }) => kind === LINUX_KIND && fileSystem === 'nanos'))
    return { family: 'nanos' };
  const commandLine = textAt(disk);
  if (commandLine !== undefined && partitions.some(({ fileSystem }) => fileSystem === 'osv-rofs'))
    return { family: 'osv', commandLine };
  return undefined;
}
