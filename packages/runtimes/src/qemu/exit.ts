/**
 * How a guest ended, from all that tells of it: the process' end, QEMU's events, the last lines of the console, what was
 * asked for. None of them is enough alone: isa-debug-exit ends QEMU without an event, and a power-off has no code.
 */
import { formatBytes, type GuestExit } from '@skerry/model';

export interface ExitEvidence {
  /** As skerry-run wrote it; undefined where both were killed. */
  readonly ended?: { readonly how: 'exited' | 'signaled'; readonly number: number; readonly atMs: number };
  /** `reason` of QEMU's SHUTDOWN event. */
  readonly shutdown?: string;
  readonly panicked: boolean;
  readonly consoleTail: readonly string[];
  /** What we asked for before it ended. */
  readonly asked?: 'stopped' | 'killed';
  readonly oomKills: number;
  readonly memoryBytes: number;
  readonly nowMs: number;
}

const SIGNALS: Record<number, string> = {
  4: 'SIGILL',
  6: 'SIGABRT',
  7: 'SIGBUS',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  15: 'SIGTERM',
  31: 'SIGSYS',
};
/** The first codes of pebble (guests/pebble/README.md, "How it ends"). */
const PANIC_CODES = new Set([4, 5]);

/** The last words of the console before its `EXIT` line: what a person wants to read. */
function lastWords(tail: readonly string[]): string {
  const words = tail.filter((line) => !line.startsWith('EXIT ') && line.trim() !== '').at(-1);
  return words === undefined ? '' : `: ${words.slice(0, 300)}`;
}

export function judgeExit(evidence: ExitEvidence): GuestExit {
  const { ended, shutdown, consoleTail, asked } = evidence;
  const atMs = ended?.atMs ?? evidence.nowMs;
  const printed = consoleTail
    .map((line) => /^EXIT code=(\d+)/.exec(line)?.[1])
    .findLast((code) => code !== undefined);
  if (asked === 'killed')
    return { reason: 'killed', message: 'it did not stop in time and was forced', atMs };
  if (asked === 'stopped') return { reason: 'stopped', message: 'it was asked to stop', atMs };
  if (!ended) return { reason: 'vanished', message: 'its process is gone and nobody saw it end', atMs };
  if (ended.how === 'signaled') {
    const signal = SIGNALS[ended.number] ?? `signal ${ended.number}`;
    if (evidence.oomKills > 0) {
      return {
        reason: 'oom',
        signal,
        message: `its hypervisor used more than the ${formatBytes(evidence.memoryBytes)} it may have`,
        atMs,
      };
    }
    return { reason: 'signal', signal, message: `its hypervisor was ended by ${signal}`, atMs };
  }
  if (evidence.panicked || shutdown === 'guest-panic')
    return { reason: 'panic', message: `its kernel gave up${lastWords(consoleTail)}`, atMs };
  // isa-debug-exit: the status is odd, (code << 1) | 1. Status 1 is QEMU's own failure too: then nothing was printed.
  const viaPort = ended.number % 2 === 1 ? ended.number >> 1 : undefined;
  const code =
    printed !== undefined
      ? Number(printed)
      : ended.number === 1 && consoleTail.length === 0
        ? undefined
        : viaPort;
  if (code !== undefined) {
    if (code === 0) return { reason: 'completed', code, message: 'it ended by itself', atMs };
    const reason = PANIC_CODES.has(code) ? 'panic' : 'error';
    return { reason, code, message: `it ended with code ${code}${lastWords(consoleTail)}`, atMs };
  }
  if (ended.number !== 0)
    return {
      reason: 'start-failed',
      code: ended.number,
      message: `QEMU ended with status ${ended.number}`,
      atMs,
    };
  if (shutdown === 'guest-reset')
    return {
      reason: 'panic',
      message: `it reset itself, as a kernel does that faults thrice${lastWords(consoleTail)}`,
      atMs,
    };
  return { reason: 'completed', code: 0, message: 'it powered itself off', atMs };
}
