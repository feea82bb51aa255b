/**
 * Control groups of both versions (cgroups(7)): one path, found below every v1 controller and in the unified tree. It
 * reads, and removes groups that are empty; engines make them and set the limits.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** `hybrid`: v1 controllers with a v2 tree beside them that has none. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2';

export function cgroupMode(): CgroupMode {
  if (existsSync(join(ROOT, 'cgroup.controllers'))) return 'v2';
  return existsSync(join(ROOT, 'unified/cgroup.controllers')) ? 'hybrid' : 'v1';
}

/** The folder of a group: below its controller with v1, in the one tree with v2. `path` begins with `/`. */
export function cgroupFolder(path: string, controller: string): string {
  return cgroupMode() === 'v2' ? join(ROOT, path) : join(ROOT, controller, path);
}

/** One file of a group; undefined where group or file are missing. */
export function readCgroup(path: string, controller: string, file: string): string | undefined {
  try {
    return readFileSync(join(cgroupFolder(path, controller), file), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Value of `key` in a file of lines `key value`, such as memory.stat. */
export function readCgroupKey(
  path: string,
  controller: string,
  file: string,
  key: string,
): number | undefined {
  const found = new RegExp(`^${key} (\\d+)$`, 'm').exec(readCgroup(path, controller, file) ?? '');
  return found ? Number(found[1]) : undefined;
}

function removeTree(folder: string): void {
  let entries: string[];
  try {
    entries = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return; // it is gone
  }
  for (const name of entries) removeTree(join(folder, name));
  try {
    rmdirSync(folder);
  } catch {
    // a process is still inside: its owner ends it first and asks again
  }
}

/** Every folder that the group has, in any tree. */
export function cgroupFolders(path: string): string[] {
  const trees = cgroupMode() === 'v2' ? [ROOT] : readdirSync(ROOT).map((name) => join(ROOT, name));
  return [...new Set(trees.map((tree) => join(tree, path)))].filter((folder) => existsSync(folder));
}

/** Names of the groups right below it, in any tree: what a data folder's guests left, when asked of its own group. */
export function cgroupChildren(path: string): string[] {
  const names = cgroupFolders(path).flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    ),
  );
  return [...new Set(names)].sort();
}

/** Ids of the processes in the group itself; none where it is gone. */
export function cgroupProcesses(path: string): number[] {
  const ids = cgroupFolders(path).flatMap((folder) => {
    try {
      return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
  return [...new Set(ids)];
}

/** Removes the group and those below it in every tree. Returns whether all of it is gone. */
export function removeCgroup(path: string): boolean {
  if (path.split('/').filter(Boolean).length === 0) return false; // never the root
  for (const folder of cgroupFolders(path)) removeTree(folder);
  return cgroupFolders(path).length === 0;
}

/** Memory used without the page cache that the kernel can drop, processor time and processes of a group. */
export function cgroupUsage(path: string): { cpuMs?: number; memoryBytes?: number; pids?: number } {
  const v2 = cgroupMode() === 'v2';
  const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  const cpu = v2
    ? readCgroupKey(path, 'cpu', 'cpu.stat', 'usage_usec')
    : number(readCgroup(path, 'cpuacct', 'cpuacct.usage'));
  const used = number(readCgroup(path, 'memory', v2 ? 'memory.current' : 'memory.usage_in_bytes'));
  const droppable =
    readCgroupKey(path, 'memory', 'memory.stat', v2 ? 'inactive_file' : 'total_inactive_file') ?? 0;
  const pids = number(readCgroup(path, 'pids', 'pids.current'));
  return {
    ...(cpu === undefined ? {} : { cpuMs: v2 ? cpu / 1e3 : cpu / 1e6 }),
    ...(used === undefined ? {} : { memoryBytes: Math.max(0, used - droppable) }),
    ...(pids === undefined ? {} : { pids }),
  };
}

/** How often the kernel ended a process of the group for want of memory since the group was made. */
export function cgroupOomKills(path: string): number {
  const file = cgroupMode() === 'v2' ? 'memory.events' : 'memory.oom_control';
  return readCgroupKey(path, 'memory', file, 'oom_kill') ?? 0;
}

/** Whether the kernel counts swap per group: only then can it be limited. */
export function cgroupHasSwapLimit(): boolean {
  if (cgroupMode() === 'v2') return existsSync('/proc/swaps');
  return existsSync(join(ROOT, 'memory/memory.memsw.limit_in_bytes'));
}
