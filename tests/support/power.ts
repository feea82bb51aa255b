/**
 * A power cut for one data folder: everything of it ends at once, and what lives in memory only (run folder, namespaces,
 * bridge, rules, control groups) is gone. What a reboot leaves is the disk.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { eventually } from '@skerry/testkit';

interface Which {
  readonly id: string;
  readonly dataDir: string;
}

/** Processes that carry the identity of the data folder in their arguments, and the tasks of its containers. */
export function processesOf({ id, dataDir }: Which): number[] {
  const marks = [id, dataDir];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const told =
          readFileSync(`/proc/${pid}/cmdline`, 'utf8') + readFileSync(`/proc/${pid}/cgroup`, 'utf8');
        return Number(pid) !== process.pid && marks.some((mark) => told.includes(mark));
      } catch {
        return false;
      }
    })
    .map(Number);
}
const quietly = (file: string, ...args: string[]) => {
  try {
    execFileSync(file, args, { stdio: 'ignore' });
  } catch {
    // it was not there
  }
};

/** What a reboot leaves: the disk. */
export async function cutPower(which: Which): Promise<void> {
  const { id, dataDir } = which;
  await eventually('every process has ended', () => {
    for (const pid of processesOf(which)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    return processesOf(which).length === 0;
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const path of mounts.filter((one) => one.includes(id) || one.includes(dataDir)).reverse())
    quietly('umount', '-l', path);
  for (const name of readdirSync('/run/netns').filter((one) => one.includes(id)))
    quietly('ip', 'netns', 'delete', name);
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }).matchAll(/^\d+: ([^:@]+)/gm);
  for (const [, name] of links) if (name!.includes(id)) quietly('ip', 'link', 'delete', name!);
  for (const family of ['inet', 'bridge']) quietly('nft', 'delete', 'table', family, `skerry_${id}`);
  rmSync(`/run/skerry/${id}`, { recursive: true, force: true });
}
