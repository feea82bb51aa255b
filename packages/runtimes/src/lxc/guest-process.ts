/** The processes of one system container: found from its folder, ended with all that belongs to them. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  cgroupFolders,
  cgroupProcesses,
  endProcess,
  type ProcessRef,
  processRef,
  removeCgroup,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { SystemFolder } from './guest-folder.ts';

/** How long a supervisor may be between two states: it starts the guest, restarts it, or writes down its end. */
const BETWEEN_LIMIT_MS = 10_000;
const END_LIMIT_MS = 10_000;
const LOOK_EVERY_MS = 5;

/** Its init while it runs. Where the supervisor is between two states, that is waited for. */
export async function initOf(folder: SystemFolder): Promise<ProcessRef | undefined> {
  const until = performance.now() + BETWEEN_LIMIT_MS;
  for (;;) {
    if (folder.ended()) return undefined;
    const init = folder.init();
    if (init) return init;
    if (folder.supervisors().length === 0 || performance.now() > until) return undefined;
    await pause(LOOK_EVERY_MS);
  }
}

/** The group and all below: an init makes groups of its own. */
function groupsBelow(group: string): string[] {
  const names = cgroupFolders(group).flatMap((path) => {
    try {
      return readdirSync(path, { withFileTypes: true }).flatMap((one) =>
        one.isDirectory() ? [one.name] : [],
      );
    } catch {
      return []; // it went meanwhile
    }
  });
  return [group, ...[...new Set(names)].flatMap((name) => groupsBelow(join(group, name)))];
}

/** No process and no group of it is left. Errors: guest_unresponsive. */
export async function clearGuest(folder: SystemFolder): Promise<void> {
  const until = performance.now() + END_LIMIT_MS;
  const init = folder.init();
  if (init) {
    // First and alone: LXC then gives the network back and takes its groups away itself.
    await endProcess(init, 0);
    const patience = performance.now() + 1000;
    while (!folder.ended() && folder.supervisors().length > 0 && performance.now() < patience)
      await pause(LOOK_EVERY_MS);
  }
  for (;;) {
    const inside = groupsBelow(folder.cgroup).flatMap((group) => cgroupProcesses(group));
    const refs = [...new Set(inside)].flatMap((pid) => processRef(pid) ?? []);
    const left = [...folder.supervisors(), ...refs];
    await Promise.all(left.map((one) => endProcess(one, 0)));
    if (left.length === 0 && (cgroupFolders(folder.cgroup).length === 0 || removeCgroup(folder.cgroup)))
      return;
    if (performance.now() > until)
      throw new SkerryError('guest_unresponsive', `processes of ${folder.uid} did not end`);
    if (left.length === 0) await pause(LOOK_EVERY_MS);
  }
}
