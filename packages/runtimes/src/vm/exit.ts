/** How a virtual machine ended. It has no exit code: it powered itself off, its kernel gave up, or QEMU failed. Pure. */
import type { GuestExit } from '@skerry/model';
import { type ExitEvidence, judgeExit } from '../qemu/exit.ts';

export function judgeVmExit(evidence: Omit<ExitEvidence, 'family'>): GuestExit {
  const { end, asked, errors } = evidence;
  if (asked === undefined && end?.how === 'exited' && end.number !== 0) {
    const words = errors.findLast((line) => line.trim() !== '') ?? 'it said nothing';
    const message = `QEMU ended with status ${end.number}: ${words.slice(0, 300)}`;
    return { reason: 'start-failed', code: end.number, message, atMs: end.atMs };
  }
  return judgeExit({ ...evidence, family: 'generic' });
}
