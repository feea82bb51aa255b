/** Traffic control (tc(8)) in its batch mode. */
import { type LineFailure, runBatch } from './ip.ts';

/** Lines of tc(8) without the word `tc`. Returns what failed; the others were carried out. */
export function tcBatch(
  lines: readonly string[],
  signal: AbortSignal,
  netns?: string,
): Promise<LineFailure[]> {
  return runBatch('tc', netns === undefined ? [] : ['-n', netns], lines, signal);
}
