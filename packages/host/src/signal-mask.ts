/** Which signals a process takes notice of: /proc/PID/status (proc(5)). */
import { readFileSync } from 'node:fs';

/**
 * Whether it catches the signal, holds it back to read it (signalfd(2)), or sleeps until a signal comes (sigtimedwait(2), while
 * which the kernel shows nothing held back). Init of a namespace is sent no other but SIGKILL.
 */
export function heedsSignal(pid: number, signal: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const bit = 1n << BigInt(signal - 1);
    if (readFileSync(`/proc/${pid}/wchan`, 'utf8').includes('sigtimedwait')) return true;
    return ['SigCgt', 'SigBlk'].some((name) => {
      const mask = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1];
      return mask !== undefined && (BigInt(`0x${mask}`) & bit) !== 0n;
    });
  } catch {
    return false; // it has ended
  }
}
