/** Which control group a process is in (cgroups(7), /proc/PID/cgroup). */
import { readFileSync } from 'node:fs';

/** Its path below `controller` with version 1, in the one tree with version 2; undefined where the process is gone. */
export function cgroupOf(pid: number, controller: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return undefined;
  }
  const rows = text.split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line));
  const row =
    rows.find((found) => found?.[1]?.split(',').includes(controller)) ??
    rows.find((found) => found?.[1] === '');
  return row?.[2];
}
