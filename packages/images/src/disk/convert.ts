/**
 * Disks of other makers become qcow2 by `qemu-img convert`, after their headers were read here. The converter is told the
 * format, never asked to guess it; it runs as nobody's user without a way to any file but the two that it is handed, with
 * bounds for time, memory and the size of what it writes.
 */
import { constants, copyFile, open, rm } from 'node:fs/promises';
import { GUEST_GID, GUEST_UID, run } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { translateWriteError } from '../content/blob-store.ts';

/** As qemu-img calls them. */
export type ForeignFormat = 'vmdk' | 'vdi' | 'vhdx' | 'vpc';

export interface Conversion {
  /** Where a copy of the source and the result may lie. The caller removes the result. */
  readonly copyPath: string;
  readonly resultPath: string;
  readonly virtualSizeBytes: number;
  readonly roomBytes: number;
  readonly signal: AbortSignal;
}

const TIMEOUT_MS = 60 * 60 * 1000;
const MEMORY_BYTES = 2 * 1024 ** 3;
/** Tables and counts of a qcow2 are under a thousandth of its content. */
const OVERHEAD_BYTES = 64 * 1024 * 1024;

const limits = ({ virtualSizeBytes, roomBytes }: Conversion) => {
  const most = Math.min(Math.ceil(virtualSizeBytes * 1.01) + OVERHEAD_BYTES, roomBytes);
  return [
    `--as=${MEMORY_BYTES}`,
    `--cpu=${TIMEOUT_MS / 1000}`,
    `--fsize=${Math.max(most, OVERHEAD_BYTES)}`,
    '--core=0',
  ];
};

/** Errors: image_invalid (the converter's words), disk_full, host_missing, host_timeout, cancelled. */
export async function convertDisk(
  path: string,
  format: ForeignFormat,
  conversion: Conversion,
): Promise<void> {
  const { copyPath, resultPath, signal } = conversion;
  const isRoot = process.getuid?.() === 0;
  try {
    // A copy, for its owner changes; where the file system can, it shares the content with the original.
    await copyFile(path, copyPath, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const source = await open(copyPath, 'r');
    const result = await open(resultPath, 'wx', 0o600).catch(async (error) => {
      await source.close();
      throw error;
    });
    try {
      if (isRoot) for (const file of [source, result]) await file.chown(GUEST_UID, GUEST_GID);
      const convert = [
        'qemu-img',
        'convert',
        '-f',
        format,
        '-O',
        'qcow2',
        '/proc/self/fd/3',
        '/proc/self/fd/4',
      ];
      const bounded = ['prlimit', ...limits(conversion), '--', ...convert];
      const user = [`--reuid=${GUEST_UID}`, `--regid=${GUEST_GID}`, '--clear-groups', '--no-new-privs'];
      const [file, ...args] = isRoot ? ['setpriv', ...user, '--', ...bounded] : bounded;
      await run(file!, args, { signal, timeoutMs: TIMEOUT_MS, files: [source.fd, result.fd] });
      if (isRoot) await result.chown(0, 0);
    } finally {
      await source.close();
      await result.close();
    }
  } catch (error) {
    await rm(resultPath, { force: true });
    throw translate(error, format);
  } finally {
    await rm(copyPath, { force: true });
  }
}

function translate(error: unknown, format: ForeignFormat): unknown {
  if (!(error instanceof SkerryError) || error.code !== 'host_command_failed')
    return translateWriteError(error);
  const full = /No space left on device|File too large/.test(error.message);
  return full
    ? new SkerryError('disk_full', `there is no room for the ${format} disk as qcow2`, { cause: error })
    : new SkerryError('image_invalid', `the ${format} disk can not be converted: ${error.message}`, {
        cause: error,
      });
}
