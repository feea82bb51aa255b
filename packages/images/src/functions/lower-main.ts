/** The program of lower-apart.ts: one function in on standard input, its lowered text or the error out. */
import { readFileSync } from 'node:fs';
import { asSkerryError } from '@skerry/model';
import { lower } from './lower.ts';
import type { LoweringAnswer, LoweringRequest } from './lower-apart.ts';

function answer({ source, filename }: LoweringRequest): LoweringAnswer {
  try {
    return { lowered: lower(source, filename) };
  } catch (thrown) {
    const { code, message, details } = asSkerryError(thrown);
    return { error: { code, message, details } };
  }
}

process.stdout.write(JSON.stringify(answer(JSON.parse(readFileSync(0, 'utf8')) as LoweringRequest)));
