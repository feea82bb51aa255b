import { expect, test } from 'vitest';
import { cpuHas } from './cpu-flags.ts';

test('a flag is found whole, not as a part of another', () => {
  // Every processor for amd64 has sse2; no flag is called `sse` and a blank.
  expect(cpuHas(process.arch === 'x64' ? 'sse2' : 'fp')).toBe(true);
  expect(cpuHas('s')).toBe(false);
  expect(cpuHas('')).toBe(false);
});
