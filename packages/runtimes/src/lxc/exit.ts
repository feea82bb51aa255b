/** How a system container ended, from what its supervisor wrote, what was asked for, and what the kernel did. Pure. */
import { signalName } from '@skerry/host';
import { formatBytes, type GuestExit } from '@skerry/model';
import type { SystemEnd } from './guest-folder.ts';

export interface ExitEvidence {
  /** Undefined where its supervisor was killed as well. */
  readonly end: SystemEnd | undefined;
  readonly asked: 'stopped' | 'killed' | undefined;
  readonly oomCount: number;
  readonly memoryLimitBytes: number;
  readonly lastWords: string | undefined;
  readonly nowMs: number;
}

const WORDS_LENGTH = 300;
const SIGHUP = 1;
const SIGINT = 2;

export function judgeExit(evidence: ExitEvidence): GuestExit {
  const { end, asked, oomCount, memoryLimitBytes, lastWords } = evidence;
  const atMs = end?.atMs ?? evidence.nowMs;
  if (asked === 'killed')
    return { reason: 'killed', message: 'was asked to stop, did not in time, and was forced', atMs };
  if (asked === 'stopped') return { reason: 'stopped', message: 'stopped when asked to', atMs };
  if (!end) return { reason: 'vanished', message: 'is gone and nobody saw it end', atMs };
  const { number } = end;
  if (end.how === 'exited') {
    if (number === 0)
      return { reason: 'completed', code: 0, message: 'its init ended by itself with code 0', atMs };
    const words = lastWords === undefined ? '' : `: ${lastWords.slice(0, WORDS_LENGTH)}`;
    return {
      reason: 'error',
      code: number,
      message: `its init ended by itself with code ${number}${words}`,
      atMs,
    };
  }
  const signal = signalName(number);
  if (end.how === 'monitor')
    return {
      reason: 'signal',
      signal,
      message: `LXC’s monitor of it was ended by ${signal}, and the guest with it`,
      atMs,
    };
  // pid_namespaces(7): reboot(2) inside ends init by SIGINT (halt, power-off) or SIGHUP (restart).
  if (number === SIGINT) return { reason: 'completed', code: 0, message: 'powered itself off', atMs };
  if (number === SIGHUP) return { reason: 'completed', code: 0, message: 'asked for a restart', atMs };
  if (signal === 'SIGKILL' && oomCount > 0) {
    const message = `used more than its ${formatBytes(memoryLimitBytes)} of memory`;
    return { reason: 'oom', signal, message, atMs };
  }
  return { reason: 'signal', signal, message: `its init was ended by ${signal}`, atMs };
}
