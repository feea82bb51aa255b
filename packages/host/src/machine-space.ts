/**
 * A machine that is none: namespaces of its own for processes, mounts, name and network (native/skerry-machine.c). Its first
 * process does nothing; killing it is a power cut for all that runs inside, and leaves no process and no mount.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import { programsBelow } from './find-process.ts';
import { netnsPath } from './netns.ts';
import { endProcess, type ProcessRef, processRef } from './process.ts';
import { run } from './run.ts';

export interface MachineSpace {
  /** Path of skerry-machine. */
  readonly program: string;
  /** A network namespace that is there. */
  readonly netns: string;
  readonly hostname: string;
  /** Absolute path of a folder of this machine alone; its `resolv.conf` and `hosts` are those of the machine. */
  readonly folder: string;
}

const START_LIMIT_MS = 10_000;

/** The first process of the machine with this folder; undefined where it is off. */
export const machineProcess = (folder: string): ProcessRef | undefined =>
  programsBelow('skerry-machine', folder)[0];

/** Starts the machine where it is off. Errors: host_missing, host_command_failed. */
export async function startMachineSpace(space: MachineSpace, signal: AbortSignal): Promise<ProcessRef> {
  const running = machineProcess(space.folder);
  if (running) return running;
  const args = [netnsPath(space.netns), space.hostname, space.folder];
  const { stdout } = await run(space.program, args, { signal, timeoutMs: START_LIMIT_MS });
  const ref = processRef(Number(stdout));
  if (!ref) throw new SkerryError('host_command_failed', `${space.program} ended at once`);
  leaveCgroups(ref.pid);
  return ref;
}

const CGROUPS = '/sys/fs/cgroup';

/**
 * Of a machine that booted, the first process is in no group. Whatever starts the emulated one may be in some: LXC, which begins
 * at the group of process 1, would make its own below that, where nobody finds them after a power cut.
 */
function leaveCgroups(pid: number): void {
  const hierarchies = existsSync(CGROUPS) ? readdirSync(CGROUPS, { withFileTypes: true }) : [];
  const roots = hierarchies.filter((entry) => entry.isDirectory()).map(({ name }) => join(CGROUPS, name));
  // of one hierarchy (v2) the folders below its root are groups, and not ours to enter
  const isUnified = existsSync(join(CGROUPS, 'cgroup.procs'));
  for (const root of isUnified ? [CGROUPS] : roots) {
    const entry = join(root, 'cgroup.procs');
    if (existsSync(entry)) writeFileSync(entry, String(pid));
  }
}

/** Ends all that runs in the machines of this folder and below it, at once and without a word to it. Idempotent. */
export async function cutPower(folder: string): Promise<void> {
  await Promise.all(programsBelow('skerry-machine', folder).map((first) => endProcess(first, 0)));
}

/** The words that run a program inside, from its folder `/`. */
export const insideMachine = (first: ProcessRef, command: readonly string[]): [string, string[]] => [
  'nsenter',
  ['--target', String(first.pid), '--net', '--mount', '--pid', '--uts', '--ipc', '--', ...command],
];

/** Memory of all processes inside, what they share counted once in parts (PSS, proc(5)); 0 where it is off. */
export function machineMemoryBytes(first: ProcessRef): number {
  const space = pidSpace(String(first.pid));
  if (space === undefined) return 0;
  let kib = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (!isWithin(pid, space)) continue;
    try {
      kib += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // it has ended meanwhile
    }
  }
  return kib * 1024;
}

function pidSpace(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Containers have namespaces of their own below the machine's: then its parents tell. */
function isWithin(pid: string, space: string): boolean {
  for (let at = pid, steps = 0; at !== '0' && at !== '1' && steps < 64; steps++) {
    const own = pidSpace(at);
    if (own === undefined) return false;
    if (own === space) return true;
    try {
      at = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? '0';
    } catch {
      return false;
    }
  }
  return false;
}
