import { expect, test } from 'vitest';
import { lower } from './lower.ts';

const refused = (source: string, filename = 'f.ts') => {
  try {
    lower(source, filename);
    return 'accepted';
  } catch (error) {
    const { message, details } = error as { message: string; details: { line?: number; column?: number } };
    return `${details.line ?? '-'}:${details.column ?? '-'} ${message}`;
  }
};

test('classes, arrows, templates, destructuring, spread, defaults and for-of become ES5', () => {
  const { text } = lower(
    `class Mean { #sum = 0; count = 0; add(x: number) { this.#sum += x; this.count++; } get value() { return this.#sum / this.count; } }
     const mean = new Mean();
     export function readings(rows: { temp: number }[]) { for (const { temp } of rows) mean.add(temp ?? 0); return { ...mean, at: \`\${mean.value}\` }; }
     export default (request: unknown, ...more: unknown[]) => [request, ...more];`,
    'f.ts',
  );
  expect(text).not.toMatch(/=>|^\s*(class|const|let) |`|\?\?/m);
  const module = { exports: {} as Record<string, (rows: unknown) => unknown> };
  new Function('exports', 'module', text)(module.exports, module);
  expect(module.exports.readings!([{ temp: 2 }, { temp: 4 }])).toEqual({ count: 2, at: '3' });
});

test.each([
  ['export async function handle() { return 1; }', /^1:\d+ .*async/],
  ['\n\nexport function handle() { return 10n; }', /^3:\d+ .*BigInt/],
  ['export function* handle() { yield 1; }', /^1:\d+ .*generators/],
  ['import fs from "node:fs";\nexport function handle() { return fs; }', /^1:1 .*import/],
  ['export function handle() {\n  return fetch("http://x");\n}', /^2:10 .*requests of its own/],
  ['export function handle() {\n  return /(?<=a)b/.test("ab");\n}', /^2:10 .*look-behind/],
  ['export function handle() {\n  const x = ;\n}', /^2:13 /],
  ['export const other = 1;', /neither handle nor readings/],
])('%s is refused with its place', (source, expected) => {
  expect(refused(source)).toMatch(expected);
});

test('a name of the user that is missing in the guest is no mistake', () => {
  expect(refused('function fetch() { return 1; }\nexport function handle() { return fetch(); }')).toBe(
    'accepted',
  );
});
