/** Time since the machine's boot, by a clock that nobody sets and that goes on while the machine is suspended (/proc/uptime, proc(5)). */
import { readFileSync } from 'node:fs';

/** Milliseconds, in steps of ten. Never goes back; begins anew with each boot. */
export const bootTimeMs = (): number =>
  Math.round(Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000);
