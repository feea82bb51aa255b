/**
 * iproute2's `ip` (ip(8)) in its batch and JSON modes. It carries lines out and reports which failed; what the lines
 * mean is its callers' business.
 */
import { SkerryError } from '@skerry/model';
import { run } from './run.ts';

const LIMIT_MS = 20_000;

export interface LineFailure {
  /** Index of the line in the batch, from 0. */
  readonly line: number;
  readonly text: string;
}

/** Which lines of a batch failed, from the words of `ip` or `tc`: the reason, then `Command failed -:<line from 1>`. */
export function parseBatchFailures(stderr: string): LineFailure[] {
  const failures: LineFailure[] = [];
  let words: string[] = [];
  for (const line of stderr.split('\n')) {
    const failed = /^Command failed -:(\d+)/.exec(line);
    if (failed) {
      failures.push({ line: Number(failed[1]) - 1, text: words.join(' ').trim() || 'no reason given' });
      words = [];
    } else words.push(line);
  }
  return failures;
}

/** Runs a batch of `ip`, `tc` or `bridge` to its end even where lines fail. Errors: host_command_failed when it gave no line. */
export async function runBatch(
  file: 'ip' | 'tc' | 'bridge',
  flags: readonly string[],
  lines: readonly string[],
  signal: AbortSignal,
): Promise<LineFailure[]> {
  if (lines.length === 0) return [];
  if (lines.some((line) => line.includes('\n'))) {
    throw new SkerryError('internal', `a line of a batch for ${file} holds a line break`);
  }
  const result = await run(file, [...flags, '-force', '-b', '-'], {
    signal,
    timeoutMs: LIMIT_MS,
    input: `${lines.join('\n')}\n`,
    okCodes: [0, 1, 2, 255],
  });
  const failures = parseBatchFailures(result.stderr);
  if (result.code !== 0 && failures.length === 0) {
    throw new SkerryError('host_command_failed', `${file} failed: ${result.stderr.trim().slice(0, 400)}`);
  }
  return failures;
}

/** Lines of ip(8) without the word `ip`; in the named network namespace where one is given. Returns what failed. */
export function ipBatch(
  lines: readonly string[],
  signal: AbortSignal,
  netns?: string,
): Promise<LineFailure[]> {
  return runBatch('ip', netns === undefined ? [] : ['-n', netns], lines, signal);
}

/** `ip -j …`, parsed. The caller names the shape: ip(8) prints an array of objects, or nothing where there is none. */
export async function ipJson<Row>(args: readonly string[], signal: AbortSignal): Promise<Row[]> {
  const result = await run('ip', ['-j', ...args], { signal, timeoutMs: LIMIT_MS });
  return result.stdout.trim() === '' ? [] : (JSON.parse(result.stdout) as Row[]);
}
