/** Resource limits of a process, as /proc/PID/limits has them (proc(5)). */
import { readFileSync } from 'node:fs';

function hardLimit(name: string, pid: number | 'self'): number {
  try {
    const text = readFileSync(`/proc/${pid}/limits`, 'utf8');
    const hard = new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, 'm').exec(text)?.[1];
    return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard ?? 1024);
  } catch {
    return 1024;
  }
}

/** The most open files that the process may allow itself and its children: what a guest of it can get at best. */
export const openFilesLimit = (pid: number | 'self' = 'self'): number => hardLimit('Max open files', pid);

/** The most processes of its user that the process may allow itself and its children. */
export const processesLimit = (pid: number | 'self' = 'self'): number => hardLimit('Max processes', pid);
