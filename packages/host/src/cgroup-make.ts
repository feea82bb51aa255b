/** Makes a control group with its limits, for guests that no engine makes one for (cgroups(7); v1 and v2). */
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cgroupFolder, cgroupMode } from './cgroup.ts';

export interface CgroupLimits {
  /** Processors; 0.5 is half of one. */
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly pids: number;
}

const PERIOD_US = 100_000;
/** The kernel takes no quota below 1 ms (sched/core.c, min_cfs_quota_period). */
const quotaUs = (cpus: number) => Math.max(1000, Math.round(cpus * PERIOD_US));

/**
 * Returns the files that a process writes `0` into to enter the group; controllers that the machine lacks are passed over
 * (the probe reports them).
 */
export function makeCgroup(path: string, limits: CgroupLimits): string[] {
  const set = (folder: string, file: string, value: string | number) =>
    writeFileSync(join(folder, file), String(value));
  if (cgroupMode() === 'v2') {
    const folder = cgroupFolder(path, '');
    const parent = dirname(folder);
    mkdirSync(parent, { recursive: true });
    writeFileSync(join(dirname(parent), 'cgroup.subtree_control'), '+cpu +memory +pids');
    writeFileSync(join(parent, 'cgroup.subtree_control'), '+cpu +memory +pids');
    mkdirSync(folder, { recursive: true });
    set(folder, 'cpu.max', `${quotaUs(limits.cpus)} ${PERIOD_US}`);
    set(folder, 'memory.max', limits.memoryBytes);
    set(folder, 'pids.max', limits.pids);
    return [join(folder, 'cgroup.procs')];
  }
  const entries: string[] = [];
  const values: [controller: string, file?: string, value?: number][] = [
    ['cpu', 'cpu.cfs_quota_us', quotaUs(limits.cpus)],
    ['cpuacct'], // measures; often one with cpu
    ['memory', 'memory.limit_in_bytes', limits.memoryBytes],
    ['pids', 'pids.max', limits.pids],
  ];
  const seen = new Set<string>();
  for (const [controller, file, value] of values) {
    const tree = cgroupFolder('/', controller);
    if (!existsSync(tree) || seen.has(realpathSync(tree))) continue;
    seen.add(realpathSync(tree));
    const folder = cgroupFolder(path, controller);
    mkdirSync(folder, { recursive: true });
    if (file !== undefined && value !== undefined) set(folder, file, value);
    entries.push(join(folder, 'cgroup.procs'));
  }
  return entries;
}
