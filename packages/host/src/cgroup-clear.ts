/** Empties a control group by force and removes it: for what a guest's engine left behind. */
import { setTimeout as pause } from 'node:timers/promises';
import { cgroupProcesses, removeCgroup } from './cgroup.ts';
import { endProcess, processRef } from './process.ts';

/** A process that was ended leaves its groups only when the kernel is done with it, and one may be starting another. */
const LIMIT_MS = 3000;
const FIRST_PAUSE_MS = 2;
const PAUSE_LIMIT_MS = 50;

/** Ends what is still in the group, and removes it. Returns whether it is gone. */
export async function clearCgroup(path: string): Promise<boolean> {
  const until = performance.now() + LIMIT_MS;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_LIMIT_MS)) {
    if (removeCgroup(path)) return true;
    if (performance.now() >= until) return false;
    const left = cgroupProcesses(path).flatMap((pid) => processRef(pid) ?? []);
    await Promise.all(left.map((ref) => endProcess(ref, 0)));
    if (!removeCgroup(path)) await pause(pauseMs);
  }
}
