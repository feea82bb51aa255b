/**
 * JSONata expressions of streams, bounded: in depth, in length, and in what their regular expressions may do, for one tenant's
 * expression must not stand in the way of others. `$` is the value; `$device`, `$topic`, `$time` (milliseconds) and `$id` tell
 * of the message.
 */
import jsonata from 'jsonata';
import type { Item } from '../message.ts';

const DEPTH_LIMIT = 200;
/**
 * Parts of the expression that one evaluation may go through: some 50 ms of a processor. Counted, not timed: on a machine that is
 * busy elsewhere, or stood still, a message that is in order would be refused.
 */
const STEP_LIMIT = 100_000;

/**
 * Regular expressions that can take exponential time are refused: those with a repeated group or a reference back; and those with
 * many open repetitions, which take a high power of the length.
 */
export function checkPattern(source: string): void {
  const repeatedGroup = /\)\s*(?:[*+]|\{\d+,)/.test(source);
  const reference = /\\[1-9]|\\k</.test(source);
  const repetitions = source.match(/[^\\][*+]|\{\d+,\d*\}/g)?.length ?? 0;
  if (source.length > 200 || repeatedGroup || reference || repetitions > 3)
    throw new Error('a regular expression that may take very long: no repeated groups, no references back');
}
const SafeRegExp = class extends RegExp {
  constructor(pattern: string | RegExp, flags?: string) {
    checkPattern(typeof pattern === 'string' ? pattern : pattern.source);
    super(pattern, flags);
  }
} as unknown as RegExpConstructor;

/** Undefined where nothing came of it. Errors: Error with a reason for people. */
export type Expression = (value: unknown, item: Omit<Item, 'value'>) => Promise<unknown>;

interface JsonataError {
  readonly message?: string;
  readonly position?: number;
}

/** Errors: Error that says what is wrong and at which character. */
export function compileExpression(text: string): Expression {
  let compiled: jsonata.Expression;
  try {
    compiled = jsonata(text, { RegexEngine: SafeRegExp });
    for (const [, pattern] of text.matchAll(/\/((?:\\.|[^/\\\n])+)\/[im]*/g)) checkPattern(pattern!);
  } catch (error) {
    const { message = String(error), position } = error as JsonataError;
    throw new Error(position === undefined ? message : `${message} (character ${position})`);
  }
  let [depth, left] = [0, 0];
  compiled.assign(Symbol.for('jsonata.__evaluate_entry') as unknown as string, () => {
    depth++;
    if (depth > DEPTH_LIMIT) throw new Error('the expression goes too deep');
    if (left-- === 0) throw new Error(`the expression takes over ${STEP_LIMIT} steps`);
  });
  compiled.assign(Symbol.for('jsonata.__evaluate_exit') as unknown as string, () => {
    depth--;
  });
  return async (value, { device, topic, atMs, id }) => {
    depth = 0;
    left = STEP_LIMIT;
    try {
      const result: unknown = await compiled.evaluate(value, { device, topic, time: atMs, id });
      return plain(result);
    } catch (error) {
      throw new Error((error as JsonataError).message ?? String(error));
    }
  };
}

/** Results are arrays with marks of jsonata's own, at times. */
const plain = (result: unknown): unknown => (Array.isArray(result) ? [...result] : result);

/** As JSONata's `$boolean`: of nothing, zero, an empty text, list or object it is false. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isTrue);
  if (value !== null && typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

/** `reading.celsius` of a value; only what the value itself has. */
export function fieldOf(value: unknown, path: string): unknown {
  let at: unknown = value;
  for (const name of path.split('.')) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
/** A number that can be counted with; a value that is a number itself has every field. */
export function numberOf(value: unknown, path: string | undefined): number | undefined {
  const found = path === undefined || typeof value === 'number' ? value : fieldOf(value, path);
  return typeof found === 'number' && Number.isFinite(found) ? found : undefined;
}
/** A value with more fields; what is no object becomes its field `value`. */
export const withFields = (
  value: unknown,
  more: Readonly<Record<string, unknown>>,
): Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? { ...value, ...more }
    : { value, ...more };
