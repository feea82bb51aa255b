/** What this machine is and has, from /proc, /sys and statfs(2): reads only, starts no program. */
import { accessSync, constants, readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { dirname } from 'node:path';
import { cgroupMode, readCgroup } from './cgroup.ts';

export interface MachineFacts {
  /** As Debian and OCI call it: `amd64`, `arm64`. */
  readonly arch: string;
  readonly kernel: string;
  readonly capacity: {
    /** Processors that guests can have: those of the machine, or the quota of the control group that it is in. */
    readonly cpus: number;
    /** Of the machine, or the limit of the control group that it is in. */
    readonly memoryBytes: number;
    /** Size of the file system of the data folder. */
    readonly diskBytes: number;
  };
  /** RFC 3339. */
  readonly bootedAt: string;
}

const ARCHITECTURES: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

const readText = (path: string): string => readFileSync(path, 'utf8');

/** One line of /proc/meminfo in bytes: the kernel counts in KiB (proc(5)). */
export function memoryInfo(key: 'MemTotal' | 'MemAvailable'): number {
  const found = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(readText('/proc/meminfo'));
  return Number(found?.[1] ?? 0) * 1024;
}

/** Guests' groups lie below the root that we see; in a container that root has limits, on a machine it has none. */
function groupMemoryLimit(): number {
  const text = readCgroup('/', 'memory', cgroupMode() === 'v2' ? 'memory.max' : 'memory.limit_in_bytes');
  const limit = Number(text ?? Number.NaN); // `max` is no number; v1 without a limit is near 2^63
  return Number.isFinite(limit) && limit > 0 ? limit : Number.POSITIVE_INFINITY;
}

function groupCpuLimit(): number {
  const [quota, period] =
    cgroupMode() === 'v2'
      ? (readCgroup('/', 'cpu', 'cpu.max') ?? 'max').split(' ')
      : [readCgroup('/', 'cpu', 'cpu.cfs_quota_us'), readCgroup('/', 'cpu', 'cpu.cfs_period_us')];
  const cpus = Number(quota ?? Number.NaN) / Number(period ?? Number.NaN); // v1 writes -1 for none, v2 `max`
  return Number.isFinite(cpus) && cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

export interface DiskSpace {
  readonly totalBytes: number;
  /** What is left for writers without privilege: file systems keep a reserve. */
  readonly freeBytes: number;
  readonly freeFiles: number;
}

/** The file system of a path, or of the nearest folder above it that exists. */
export function diskSpace(path: string): DiskSpace {
  let at = path;
  for (;;) {
    try {
      accessSync(at, constants.F_OK);
      break;
    } catch {
      if (at === dirname(at)) break;
      at = dirname(at);
    }
  }
  const about = statfsSync(at);
  return {
    totalBytes: about.blocks * about.bsize,
    freeBytes: about.bavail * about.bsize,
    freeFiles: about.files === 0 ? Number.POSITIVE_INFINITY : about.ffree, // btrfs has no such limit and says 0
  };
}

/** Another value after every boot (random(4)): what lies in /run is younger than it. */
export const bootId = (): string => readText('/proc/sys/kernel/random/boot_id').trim();

export async function machineFacts(dataDir: string): Promise<MachineFacts> {
  const bootSeconds = /^btime (\d+)$/m.exec(readText('/proc/stat'))?.[1];
  return {
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    kernel: release(),
    capacity: {
      cpus: Math.min(availableParallelism(), groupCpuLimit()),
      memoryBytes: Math.min(memoryInfo('MemTotal'), groupMemoryLimit()),
      diskBytes: diskSpace(dataDir).totalBytes,
    },
    bootedAt: new Date(Number(bootSeconds ?? 0) * 1000).toISOString(),
  };
}
