import { expect, test } from 'vitest';
import { coalesce } from './coalesce.ts';

test('what is asked while a batch runs goes together into the next one, each with its own answer', async () => {
  const batches: number[][] = [];
  const double = coalesce(async (jobs: readonly number[]) => {
    batches.push([...jobs]);
    await new Promise((resolve) => setImmediate(resolve));
    return jobs.map((job) => job * 2);
  }, 3);
  const answers = await Promise.all([1, 2, 3, 4, 5].map(double));
  expect(answers).toEqual([2, 4, 6, 8, 10]);
  expect(batches).toEqual([[1], [2, 3, 4], [5]]);
});

test('a batch that fails fails for its own callers only', async () => {
  const work = coalesce(async (jobs: readonly string[]) => {
    if (jobs.includes('bad')) throw new Error('bad');
    return jobs;
  }, 1);
  const [first, second] = await Promise.allSettled([work('bad'), work('good')]);
  expect(first.status).toBe('rejected');
  expect(second).toEqual({ status: 'fulfilled', value: 'good' });
});
