/** A file with ext4 in it: the writable layer of a guest whose size is limited by its file system. */
import { closeSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import { reserveSpace } from './reserve-space.ts';
import { run } from './run.ts';

/** No journal: after a power cut the layer is made anew. Nothing reserved for root: the guest's root is not ours. */
const OPTIONS = [
  ...['-q', '-F', '-m', '0', '-O', '^has_journal,^resize_inode'],
  ...['-E', 'lazy_itable_init=1,nodiscard'],
];

/**
 * An empty file system of that size, whose space is taken from the disk now; what the file was before is lost. A failure leaves
 * no file. Errors: disk_full, host_missing, host_command_failed.
 */
export async function makeLayerExt4(path: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const file = openSync(path, 'w', 0o600);
  try {
    ftruncateSync(file, sizeBytes);
  } finally {
    closeSync(file);
  }
  try {
    await run('mkfs.ext4', [...OPTIONS, path], { signal, timeoutMs: 30_000 });
    await reserveSpace(path, sizeBytes, signal);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}
