/**
 * What the ends of each family mean: the number that it leaves through isa-debug-exit, and the words that tell more than
 * the number. Measured with images of each, or read in their sources; where a family says nothing of its own, nothing is
 * here. Pure.
 */

/** What skerry-run saw. */
export interface GuestEnd {
  readonly how: 'exited' | 'signaled';
  /** Status or signal. */
  readonly number: number;
  readonly atMs: number;
  /** `reason` of QEMU's SHUTDOWN event; absent where there was none. */
  readonly shutdown?: string;
  readonly panicked: boolean;
}

type Code = number | 'panic' | undefined;
/** Undefined: as any guest. */
type FamilyEnd = (end: GuestEnd, console: readonly string[]) => Code;

/** What Unikraft and Solo5 leave through the port, whatever their program's code was. */
const HALT = 41;
const CRASH = 42;
/** solo5_exit's status for an abort (Solo5's solo5.h). */
const SOLO5_ABORT = 255;

const leftCode = ({ number }: GuestEnd) => (number % 2 === 1 ? number >> 1 : undefined);

/** The last match in what it printed. */
export const printed = (console: readonly string[], pattern: RegExp): string | undefined =>
  console.flatMap((line) => pattern.exec(line)?.[1] ?? []).at(-1);

const unikraft: FamilyEnd = (end) => {
  const code = leftCode(end);
  return code === HALT ? 0 : code === CRASH ? 'panic' : undefined;
};

const solo5: FamilyEnd = (end, console) => {
  if (leftCode(end) !== HALT) return undefined;
  const said = printed(console, /solo5_exit\((\d{1,9})\) called/);
  if (said === undefined && console.some((line) => line.includes('ABORT'))) return 'panic';
  return Number(said ?? 0);
};

/** A tender's status is the guest's own. */
const tender: FamilyEnd = ({ number }) => (number === SOLO5_ABORT ? 'panic' : number);

/** It writes 1 for success and 0 for failure: status 3 and 1. Status 1 without a word is QEMU's. */
const hermit: FamilyEnd = (end, console) => {
  const code = leftCode(end);
  if (code === 1) return 0;
  return code === 0 && console.length > 0 ? 1 : undefined;
};

/** It powers itself off whatever happened: its words alone tell of an abort. */
const osv: FamilyEnd = (_, console) =>
  console.some((line) => /^(?:Aborted\b|\[backtrace\]|Assertion failed:)/.test(line)) ? 'panic' : undefined;

/** With `panic=-1` it restarts after a panic, as after a wish of its own. */
const linux: FamilyEnd = ({ shutdown }, console) => {
  if (console.some((line) => line.includes('Kernel panic - not syncing'))) return 'panic';
  return shutdown === 'guest-reset' && console.some((line) => /reboot: Restarting system/.test(line))
    ? 0
    : undefined;
};

export const FAMILY_ENDS: Readonly<Record<string, FamilyEnd>> = {
  unikraft,
  solo5,
  'solo5-tender': tender,
  hermit,
  osv,
  linux,
};
