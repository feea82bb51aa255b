/** The processes of one guest that QEMU runs: found from its folder, ended with all that belongs to them. */
import { setTimeout as pause } from 'node:timers/promises';
import { cgroupProcesses, endProcess, type ProcessRef, processRef, removeCgroup } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { GuestFolder } from './guest-folder.ts';

type Folder = Pick<GuestFolder, 'uid' | 'cgroup' | 'ended' | 'process' | 'processes'>;

/** A supervisor that was just started writes its pid file within milliseconds. */
const PID_FILE_LIMIT_MS = 5000;
const EXIT_FILE_LIMIT_MS = 1000;
const END_LIMIT_MS = 10_000;

/** QEMU while it runs; waits for the pid file where an agent ended right after it had started the supervisor. */
export async function qemuOf(folder: Folder): Promise<ProcessRef | undefined> {
  if (folder.ended()) return undefined;
  const process = folder.process();
  if (process) return process;
  const until = performance.now() + PID_FILE_LIMIT_MS;
  while (folder.processes().length > 0 && performance.now() < until) {
    await pause(10);
    if (folder.ended()) return undefined;
    const found = folder.process();
    if (found) return found;
  }
  return undefined;
}

/** The supervisor writes it a moment after QEMU ended. */
export async function exitFileOf(folder: Folder): Promise<void> {
  const until = performance.now() + EXIT_FILE_LIMIT_MS;
  while (!folder.ended() && performance.now() < until) await pause(5);
}

/** No process and no group of it is left. Errors: guest_unresponsive. */
export async function clearGuest(folder: Folder): Promise<void> {
  const until = performance.now() + END_LIMIT_MS;
  const qemu = folder.process();
  if (qemu) {
    await endProcess(qemu, 0); // alone and first: its supervisor then buries it and ends
    await exitFileOf(folder);
  }
  for (;;) {
    const inside = cgroupProcesses(folder.cgroup).flatMap((pid) => processRef(pid) ?? []);
    const left = [...inside, ...folder.processes()];
    await Promise.all(left.map((one) => endProcess(one, 0)));
    if (left.length === 0 && removeCgroup(folder.cgroup)) return;
    if (performance.now() > until)
      throw new SkerryError('guest_unresponsive', `processes of ${folder.uid} did not end`);
    if (left.length === 0) await pause(5);
  }
}
