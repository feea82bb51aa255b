/** Resource limits of a process, as /proc/PID/limits has them (proc(5)). */
import { readFileSync } from 'node:fs';

/** The most open files that the process may allow itself and its children: what a guest of it can get at best. */
export function openFilesLimit(pid: number | 'self' = 'self'): number {
  try {
    const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard ?? 1024);
  } catch {
    return 1024;
  }
}
