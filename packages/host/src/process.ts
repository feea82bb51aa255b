/**
 * Processes that are not our children: daemons and guests that outlive the agent. A process is known by its id *and* its
 * start time, so that a reused id is never mistaken for it, and nothing else is ever signalled.
 */
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { SkerryError } from '@skerry/model';
import { HOST_ENV } from './run.ts';

export interface ProcessRef {
  readonly pid: number;
  /** Start time in clock ticks after boot: field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: number;
}

/** The process that has this id now; undefined where there is none, or only a zombie. */
export function processRef(pid: number): ProcessRef | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name may hold spaces and brackets
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, startTicks: Number(fields[19]) };
}

export function isAlive(ref: ProcessRef): boolean {
  return processRef(ref.pid)?.startTicks === ref.startTicks;
}

export function signalProcess(ref: ProcessRef, name: NodeJS.Signals | number): void {
  if (!isAlive(ref)) return;
  try {
    process.kill(ref.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Resolves true once it has ended, false after `limitMs`. Looks every 10 ms, for nothing tells of another's child. */
export async function waitForEnd(ref: ProcessRef, limitMs: number, signal?: AbortSignal): Promise<boolean> {
  const until = performance.now() + limitMs;
  while (isAlive(ref)) {
    if (performance.now() > until) return false;
    await delay(10, undefined, signal ? { signal } : {});
  }
  return true;
}

/** SIGTERM, then SIGKILL after `graceMs`. Returns whether force was needed. Errors: host_timeout (unkillable for 10 s). */
export async function endProcess(ref: ProcessRef, graceMs: number): Promise<{ forced: boolean }> {
  if (graceMs > 0) {
    signalProcess(ref, 'SIGTERM');
    if (await waitForEnd(ref, graceMs)) return { forced: false };
  }
  signalProcess(ref, 'SIGKILL');
  if (!(await waitForEnd(ref, 10_000))) {
    throw new SkerryError('host_timeout', `process ${ref.pid} did not end after SIGKILL`);
  }
  return { forced: true };
}

/** Of what a program that has ended wrote since its log had so many bytes. */
function lastLine(logFile: string, begun: number): string {
  const text = readFileSync(logFile).subarray(begun).toString().trim();
  return text.slice(text.lastIndexOf('\n') + 1).slice(-500);
}

export interface DaemonOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Both outputs are appended to it; discarded where absent. */
  readonly logFile?: string;
}

/** Starts a program in a session of its own that goes on when we end. Errors: host_missing, host_command_failed. */
export async function startDaemon(options: DaemonOptions): Promise<ProcessRef> {
  const log = options.logFile === undefined ? 'ignore' : openSync(options.logFile, 'a', 0o600);
  const begun = typeof log === 'number' ? fstatSync(log).size : 0;
  try {
    const child = spawn(options.file, [...options.args], {
      cwd: options.cwd ?? '/',
      env: { ...HOST_ENV, ...options.env },
      detached: true,
      stdio: ['ignore', log, log],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause: NodeJS.ErrnoException) => {
        const missing = cause.code === 'ENOENT';
        const text = missing
          ? `the program ${options.file} is not installed`
          : `${options.file} could not be started`;
        reject(new SkerryError(missing ? 'host_missing' : 'host_command_failed', text, { cause }));
      });
    });
    child.unref();
    const ref = child.pid === undefined ? undefined : processRef(child.pid);
    if (!ref) {
      const words = options.logFile === undefined ? '' : lastLine(options.logFile, begun);
      throw new SkerryError('host_command_failed', `${options.file} ended at once${words && `: ${words}`}`, {
        details: { logFile: options.logFile },
      });
    }
    return ref;
  } finally {
    if (typeof log === 'number') closeSync(log);
  }
}
