/** What `skerry doctor` finds while the program does not run: the machine itself, before anything is started. */
import { examineMachine } from '@skerry/host';
import type { ProbeFinding } from '@skerry/model';

export function examine(dataDir: string): Promise<ProbeFinding[]> {
  return examineMachine(dataDir, AbortSignal.timeout(30_000));
}
