/** Empties a control group by force and removes it: for what a guest's engine left behind. */
import { cgroupProcesses, removeCgroup } from './cgroup.ts';
import { endProcess, processRef } from './process.ts';

const ROUNDS = 5;

/** Ends what is still in the group, and removes it. Returns whether it is gone. */
export async function clearCgroup(path: string): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round++) {
    if (removeCgroup(path)) return true;
    const left = cgroupProcesses(path).flatMap((pid) => processRef(pid) ?? []);
    await Promise.all(left.map((ref) => endProcess(ref, 0)));
  }
  return false;
}
