/** A sparse file with ext4 in it: the writable layer of a guest whose size is limited by its file system. */
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { run } from './run.ts';

/** No journal: after a power cut the layer is made anew. Nothing reserved for root: the guest's root is not ours. */
const OPTIONS = [
  ...['-q', '-F', '-m', '0', '-O', '^has_journal,^resize_inode'],
  ...['-E', 'lazy_itable_init=1,nodiscard'],
];

/** An empty file system of that size; what the file was before is lost. Errors: host_missing, host_command_failed. */
export async function makeSparseExt4(path: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const file = openSync(path, 'w', 0o600);
  try {
    ftruncateSync(file, sizeBytes);
  } finally {
    closeSync(file);
  }
  await run('mkfs.ext4', [...OPTIONS, path], { signal, timeoutMs: 30_000 });
}
