/** What every engine asks of a transaction before it takes it. */
import { SkerryError } from '@skerry/model';
import type { Op } from './port.ts';

const twice = (key: string) =>
  new SkerryError('internal', `a transaction puts the key ${key} and names it a second time`);

/** A key that is put is named by no other operation, nor below a prefix that one deletes. Errors: internal. */
export function checkOps(ops: readonly Op[]): void {
  if (ops.length < 2) return;
  const puts = new Set<string>();
  for (const op of ops) {
    if (!('put' in op)) continue;
    if (puts.has(op.put)) throw twice(op.put);
    puts.add(op.put);
  }
  for (const op of ops) {
    if ('delete' in op && puts.has(op.delete)) throw twice(op.delete);
    if ('deletePrefix' in op) for (const key of puts) if (key.startsWith(op.deletePrefix)) throw twice(key);
  }
}

/** About what the operations weigh in memory and on disk. */
export const weightOf = (ops: readonly Op[]): number =>
  ops.reduce((sum, op) => sum + 64 + ('put' in op ? op.put.length + op.value.length : 0), 0);
