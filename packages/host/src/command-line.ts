/** The arguments of a process that is not our child, as /proc/PID/cmdline has them (proc(5)). */
import { readFileSync } from 'node:fs';
import type { ProcessRef } from './process.ts';

/** Empty where it has ended. */
export function commandLine(ref: ProcessRef): string[] {
  try {
    return readFileSync(`/proc/${ref.pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}
