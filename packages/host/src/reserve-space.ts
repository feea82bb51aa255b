/**
 * Space for a file that is a disk to somebody: taken at once, for a file system in a sparse file loses what its guest has
 * written when the disk below it is full (the write has been acknowledged by then), its own directories among it.
 */
import { statfsSync, statSync } from 'node:fs';
import { formatBytes, SkerryError } from '@skerry/model';
import { run } from './run.ts';

const UNSUPPORTED = /Operation not supported/;

/**
 * What is in the file stays. A file system that can not reserve (fallocate(2): EOPNOTSUPP) leaves it sparse.
 * Errors: disk_full with the numbers, and nothing is taken; host_missing, host_command_failed.
 */
export async function reserveSpace(path: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const missing = sizeBytes - statSync(path).blocks * 512; // st_blocks counts 512 bytes (stat(2))
  const { bavail, bsize } = statfsSync(path);
  // looked at first: a fallocate that fails keeps what it got, and would leave others without
  if (missing > bavail * bsize) {
    throw new SkerryError(
      'disk_full',
      `a disk of ${formatBytes(sizeBytes)} needs ${formatBytes(missing)} more, the file system of the data folder has ${formatBytes(bavail * bsize)} left: free some, or ask for less`,
    );
  }
  await run('fallocate', ['--length', String(sizeBytes), path], { signal, timeoutMs: 30_000 }).catch(
    (error) => {
      if (!(error instanceof SkerryError && UNSUPPORTED.test(error.message))) throw error;
    },
  );
}
