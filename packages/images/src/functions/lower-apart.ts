/**
 * Lowers in a process of its own: the compiler takes 50 MB and half a second of a core, which the program that holds the
 * node would keep, and a hostile source could hold it up. Run from source, where that program is not built, it lowers here.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from '@skerry/host';
import { asSkerryError, type ErrorCode, SkerryError } from '@skerry/model';
import type { LoweredFunction } from './lower.ts';

/** What the process is given on its standard input, as JSON. */
export interface LoweringRequest {
  readonly source: string;
  readonly filename: string;
}
/** What it answers on its standard output, as JSON. */
export type LoweringAnswer =
  | { readonly lowered: LoweredFunction }
  | { readonly error: { code: ErrorCode; message: string; details: Readonly<Record<string, unknown>> } };

/** The largest function takes 2 s on a small machine. */
const LIMIT_MS = 30_000;
const HEAP_LIMIT_MIB = 512;
const ANSWER_LIMIT_BYTES = 16 * 1024 * 1024;

/** Beside the bundle or above its chunks (scripts/build.mjs). */
function builtProgram(): string | undefined {
  return ['./lower-function.mjs', '../lower-function.mjs']
    .map((name) => fileURLToPath(new URL(name, import.meta.url)))
    .find((path) => existsSync(path));
}

/** Errors: function_invalid with details {line, column}. */
export async function lowerApart(
  source: string,
  filename: string,
  program: string | undefined = builtProgram(),
): Promise<LoweredFunction> {
  if (program === undefined) return (await import('./lower.ts')).lower(source, filename);
  const request: LoweringRequest = { source, filename };
  const { stdout } = await run(process.execPath, [`--max-old-space-size=${HEAP_LIMIT_MIB}`, program], {
    signal: new AbortController().signal,
    timeoutMs: LIMIT_MS,
    input: JSON.stringify(request),
    maxOutputBytes: ANSWER_LIMIT_BYTES,
  }).catch((cause) => {
    // It tells every error itself: where it can't, the source was too much for it.
    const { message } = asSkerryError(cause);
    throw new SkerryError('function_invalid', `the compiler gave up on this function: ${message}`, { cause });
  });
  const answer = JSON.parse(stdout) as LoweringAnswer;
  if ('lowered' in answer) return answer.lowered;
  const { code, message, details } = answer.error;
  throw new SkerryError(code, message, { details });
}
