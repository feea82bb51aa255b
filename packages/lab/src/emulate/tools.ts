/** What the verbs of a lab have in hand: its folder, its state, the programs, a signal. */
import { ipBatch, type LineFailure } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { LabFolder, LabState } from '../state.ts';

export interface LabPrograms {
  /** skerry-link and skerry-machine. */
  readonly link: string;
  readonly machine: string;
  /** The program itself, as words that arguments follow. */
  readonly skerry: readonly string[];
}

export interface Bench {
  readonly folder: LabFolder;
  readonly state: LabState;
  readonly programs: LabPrograms;
  readonly signal: AbortSignal;
}

/** Of what is there already, or gone already, no failure is made. */
const HARMLESS = /File exists|Cannot find device|No such (process|device|file)/;

/** Lines of ip(8), here or in a namespace. Errors: host_command_failed with the first line that failed. */
export async function ip(
  lines: readonly string[],
  signal: AbortSignal,
  netns?: string,
  harmless: RegExp = HARMLESS,
): Promise<void> {
  const failed = (await ipBatch(lines, signal, netns)).find(({ text }: LineFailure) => !harmless.test(text));
  if (!failed) return;
  const where = netns === undefined ? '' : ` in ${netns}`;
  throw new SkerryError('host_command_failed', `"ip ${lines[failed.line]}"${where} failed: ${failed.text}`);
}
