/** Puts a guest's log files (log-lines.ts) into another folder of the same file system. A writer that is not done yet goes on there. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';

/** Files that are not there, or were moved before, are left out. */
export function moveLog(from: string, to: string): void {
  for (const name of ['log.1', 'log'])
    if (existsSync(join(from, name))) renameSync(join(from, name), join(to, name));
}
