/** Ends a process when its lease is over, also where the agent is dead or hangs: see native/skerry-lease.c. */
import { processRef } from './process.ts';
import { run } from './run.ts';

/**
 * `file` begins with the moment (milliseconds as of `bootTimeMs`) at which `pid` is to end; whoever renews the lease replaces
 * it. Idempotent. Errors: host_missing, host_command_failed.
 */
export async function guardLease(
  program: string,
  file: string,
  pid: number,
  signal: AbortSignal,
): Promise<void> {
  const process = processRef(pid);
  if (!process) return;
  await run(program, [file, String(pid), String(process.startTicks)], { signal, timeoutMs: 10_000 });
}
