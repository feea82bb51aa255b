/**
 * How a guest ended, from all that tells of it: the process' end, QEMU's events, the last lines of the console, what was
 * asked for. None of them is enough alone: isa-debug-exit ends QEMU without an event, and a power-off has no code. Pure.
 */
import { constants } from 'node:os';
import { formatBytes, type GuestExit } from '@skerry/model';
import { FAMILY_ENDS, type GuestEnd, printed } from './families/ends.ts';

export type { GuestEnd } from './families/ends.ts';

export interface ExitEvidence {
  /** Undefined where the supervisor was killed as well. */
  readonly end: GuestEnd | undefined;
  /** Of the image: each has its own way to say how it ended. */
  readonly family: string;
  /** Its last lines, and what QEMU itself said. */
  readonly console: readonly string[];
  readonly errors: readonly string[];
  /** What we asked for before it ended. */
  readonly asked: 'stopped' | 'killed' | undefined;
  readonly oomKills: number;
  /** What its group may use. */
  readonly memoryLimitBytes: number;
  readonly nowMs: number;
}

/** Codes that pebble ends with (guests/pebble/README.md, "How it ends"): kernel fault, too little memory. */
const PANIC_CODES = new Set([4, 5]);
const WORDS_LENGTH = 300;

const signalName = (number: number) =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;

/** The last words before the `EXIT` line: what a person wants to read. */
function lastWords(lines: readonly string[]): string {
  const words = lines.findLast((line) => !line.startsWith('EXIT ') && line.trim() !== '');
  return words === undefined ? '' : `: ${words.slice(0, WORDS_LENGTH)}`;
}

export function judgeExit(evidence: ExitEvidence): GuestExit {
  const { end, asked, nowMs } = evidence;
  const atMs = end?.atMs ?? nowMs;
  if (asked === 'killed') {
    return { reason: 'killed', message: 'was asked to stop, did not in time, and was forced', atMs };
  }
  if (asked === 'stopped') return { reason: 'stopped', message: 'stopped when asked to', atMs };
  if (!end) return { reason: 'vanished', message: 'is gone and nobody saw it end', atMs };
  return end.how === 'signaled' ? bySignal(end, evidence) : byItself(end, evidence);
}

function bySignal({ number, atMs }: GuestEnd, { oomKills, memoryLimitBytes }: ExitEvidence): GuestExit {
  const signal = signalName(number);
  if (oomKills > 0 && signal === 'SIGKILL') {
    const message = `its hypervisor used more than the ${formatBytes(memoryLimitBytes)} it may have`;
    return { reason: 'oom', signal, message, atMs };
  }
  return { reason: 'signal', signal, message: `its hypervisor was ended by ${signal}`, atMs };
}

function byItself(end: GuestEnd, evidence: ExitEvidence): GuestExit {
  const { number, atMs, shutdown } = end;
  const { console, errors } = evidence;
  const code = codeOf(end, evidence);
  if (code === 'panic' || end.panicked || shutdown === 'guest-panic') {
    return { reason: 'panic', message: `its kernel gave up${lastWords(console)}`, atMs };
  }
  if (code === 0) return { reason: 'completed', code, message: 'ended by itself with code 0', atMs };
  if (code !== undefined) {
    const reason = evidence.family === 'pebble' && PANIC_CODES.has(code) ? 'panic' : 'error';
    return { reason, code, message: `ended by itself with code ${code}${lastWords(console)}`, atMs };
  }
  if (shutdown === 'guest-reset') {
    const message = `it reset itself, as a kernel does that faults thrice${lastWords(console)}`;
    return { reason: 'panic', message, atMs };
  }
  if (number !== 0) {
    const message = `QEMU ended with status ${number}${lastWords(errors)}`;
    return { reason: 'start-failed', code: number, message, atMs };
  }
  return { reason: 'completed', code: 0, message: 'powered itself off', atMs };
}

/**
 * The guest's own code: as it printed it, else as it left through isa-debug-exit, whose status is odd: (code << 1) | 1.
 * Status 1 is also QEMU's own failure: then the guest printed nothing.
 */
function codeOf(end: GuestEnd, evidence: ExitEvidence): number | 'panic' | undefined {
  const { number } = end;
  const { console, family } = evidence;
  const own = FAMILY_ENDS[family]?.(end, console);
  if (own !== undefined) return own;
  if (number % 2 === 0) return undefined;
  const said = printed(console, /^EXIT code=(\d{1,9})$/);
  if (said !== undefined) return Number(said);
  return number === 1 && console.length === 0 ? undefined : number >> 1;
}
