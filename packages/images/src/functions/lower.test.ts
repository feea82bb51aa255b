// Lowered text runs in the guest's engine as it would in a modern one, or is refused with its place.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lower } from './lower.ts';
import { lowerApart } from './lower-apart.ts';
import { createEngine, type Engine } from './testing/duktape.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-lower-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const refused = (source: string, filename = 'f.ts') => {
  try {
    lower(source, filename);
    return 'accepted';
  } catch (error) {
    const { message, details } = error as { message: string; details: { line?: number; column?: number } };
    return `${details.line ?? '-'}:${details.column ?? '-'} ${message}`;
  }
};

describe('in the engine of the guest', () => {
  let engine: Engine;
  beforeAll(() => {
    engine = createEngine(folder);
  });
  const run = (source: string, ...args: unknown[]) =>
    engine.call(lower(source, 'f.ts').text, 'handle', ...args);

  test('classes with private fields, arrows, templates, destructuring, spread, defaults, for-of, ?? and ?.', () => {
    const source = `
      class Mean {
        #sum = 0; static made = 0; count = 0;
        constructor() { Mean.made++; }
        add(x: number) { this.#sum += x; this.count++; return this; }
        get value() { return this.#sum / this.count; }
        scaled(by: number) { return this.value * by; }
        #secret() { return 42; }
        secret() { return this.#secret(); }
      }
      class Named extends Mean { constructor(readonly name = 'x') { super(); } scaled() { return super.scaled(10); } }
      export function handle(rows: { temp: number; at?: { day: string } }[], ...more: number[]) {
        const mean = new Named();
        for (const { temp, at: { day } = { day: 'none' } } of rows) if (day !== 'skip') mean.add(temp ?? 0);
        const squares = [...rows.map(({ temp }) => temp ** 2), ...more];
        const by = new Map(rows.map((row, i) => [\`k\${i}\`, row.at?.day ?? '-'] as const));
        let text = ''; for (const [key, day] of by) text += \`\${key}=\${day};\`;
        const fns = []; for (let i = 0; i < 3; i++) fns.push(() => i);
        const { value, ...rest } = { value: mean.scaled(), name: mean.name, n: mean.count };
        return { value, rest, squares, text, late: fns.map((f) => f()), secret: mean.secret(), made: Mean.made,
          is: mean instanceof Mean, big: 1_000, bits: 0b101, chars: [...'ab'], has: new Set([1, 2]).has(2) };
      }`;
    expect(
      run(source, [{ temp: 2 }, { temp: 4, at: { day: 'mon' } }, { temp: 9, at: { day: 'skip' } }], 7),
    ).toEqual({
      value: 30,
      rest: { name: 'x', n: 2 },
      squares: [4, 16, 81, 7],
      text: 'k0=-;k1=mon;k2=skip;',
      late: [0, 1, 2],
      secret: 42,
      made: 1,
      is: true,
      big: 1000,
      bits: 5,
      chars: ['a', 'b'],
      has: true,
    });
  });

  test('errors of one’s own keep their class, their methods and their message, two levels deep', () => {
    const source = `
      class Wrong extends Error { status = 400; tell() { return \`\${this.status} \${this.message}\`; } }
      class TooHot extends Wrong { constructor(readonly degrees: number) { super(\`too hot: \${degrees}\`); this.status = 422; } }
      const Odd = class extends RangeError { constructor() { super('odd'); } };
      export function handle(degrees: number) {
        const seen = [];
        try { throw new TooHot(degrees); } catch (error) {
          seen.push(error instanceof TooHot, error instanceof Wrong, error instanceof Error, error.tell(), error.degrees);
        }
        try { throw new Wrong('plain'); } catch (error) { seen.push(error instanceof TooHot, error.tell()); }
        try { throw new Odd(); } catch (error) { seen.push(error instanceof Odd, error instanceof RangeError, error.message); }
        return seen;
      }`;
    expect(run(source, 41)).toEqual([
      true,
      true,
      true,
      '422 too hot: 41',
      41,
      false,
      '400 plain',
      true,
      true,
      'odd',
    ]);
  });

  test('new.target, getters, tagged templates, labels, closures over switch, optional catch, enums and namespaces', () => {
    const source = `
      enum Level { low, high = 5 }
      namespace Units { export const c = (f: number) => ((f - 32) * 5) / 9; }
      abstract class Shape { kind: string; constructor() { this.kind = new.target.name; } abstract area(): number; }
      class Square extends Shape { area() { return 4; } }
      const tag = (parts: TemplateStringsArray, ...values: unknown[]) => parts.join('|') + values.join();
      export const handle = () => {
        const o = { get twice() { return 2 * 21; }, ['a' + 1]: 1 };
        let sum = 0;
        outer: for (const a of [1, 2, 3]) { for (const b of [1, 2, 3]) { if (b === 2) continue outer; sum += a * b; } }
        try { JSON.parse('{'); } catch { sum += 100; }
        o.a1 ??= 5; o.b ||= 6;
        return [Level[5], Units.c(212), new Square().kind, tag\`x\${1}y\${2}\`, o.twice, o.a1, o.b, sum, [1, [2, [3]]].flat(2).at(-1),
          '😀'.length, '😀' === '\\ud83d\\ude00', /^😀$/.test('\\ud83d\\ude00'), '\u2028'.length];
      };`;
    expect(run(source)).toEqual(['high', 100, 'Square', 'x|y|1,2', 42, 1, 6, 106, 3, 2, true, true, 1]);
  });
});

describe('refused', () => {
  test.each([
    ['export async function handle() { return 1; }', /^1:\d+ .*async/],
    ['\n\nexport function handle() { return 10n; }', /^3:\d+ .*BigInt/],
    ['export function* handle() { yield 1; }', /^1:\d+ .*generators/],
    ['export const handle = () => 1;\nawait handle();', /^2:1 .*await/],
    ['import fs from "node:fs";\nexport function handle() { return fs; }', /^1:1 .*import/],
    ['export function handle() { return import("x"); }', /^1:\d+ .*import\(\)/],
    ['export function handle() { return import.meta; }', /^1:\d+ .*import\.meta/],
    ['export function handle() {\n  return fetch("http://x");\n}', /^2:10 .*requests of its own/],
    ['export function handle() {\n  return /(?<=a)b/.test("ab");\n}', /^2:10 .*look-behind/],
    ['export function handle() {\n  return /(?<year>\\d+)/;\n}', /^2:10 .*named groups/],
    ['export function handle() { return /\\p{L}/; }', /Unicode classes/],
    ['export function handle() { return /a/y; }', /not y/],
    ['export function handle() { return new RegExp("a", "gu"); }', /^1:\d+ .*not u/],
    ['export function handle() { return RegExp("(?<!a)b"); }', /look-behind/],
    [
      'class A { get x() { return 1; } }\nexport class B extends A { handle() { return super.x; } }',
      /^2:\d+ .*super/,
    ],
    ['export const handle = () => ({ m() { return super.toString(); } }).m();', /object literal/],
    ['@sealed class A {}\nexport const handle = () => A;', /^1:1 .*decorators/],
    ['class List extends Array {}\nexport const handle = () => new List();', /^1:1 .*extend Array/],
    ['export function handle() { using x = open(); return x; }', /using/],
    ['export function handle() {\n  const x = ;\n}', /^2:13 /],
    ['export const other = 1;', /neither handle nor readings/],
    ['export type handle = string;', /neither handle nor readings/],
  ])('%s', (source, expected) => {
    expect(refused(source)).toMatch(expected);
  });

  test('what is nested so deeply that the compiler would end', () => {
    expect(refused(`export const handle = () => ${'('.repeat(20_000)}1${')'.repeat(20_000)};`)).toMatch(
      /too deeply/,
    );
  });

  test('a file whose name does not end in a known way', () => {
    expect(refused('export const handle = 1', 'f.py')).toMatch(/ends in no known way/);
  });
});

test('a name of the user that is missing in the guest is no mistake, nor one that it asks for', () => {
  for (const source of [
    'function fetch() { return 1; }\nexport function handle() { return fetch(); }',
    'export function handle({ URL }) { return URL; }',
    'export const handle = () => (typeof Intl === "undefined" ? 1 : Intl);',
    'class Array2 {}\nexport const handle = (x: Promise<number>) => [x as unknown as URL, { fetch: 1 }.fetch];',
    'class Map {}\nclass Mine extends Map {}\nexport const handle = () => new Mine();',
  ])
    expect(refused(source), source).toBe('accepted');
});

test('what is exported is found in all the ways of writing it', () => {
  const names = (source: string, filename = 'f.ts') => lower(source, filename).exports;
  expect(names('export const { handle, readings: [readings] } = make();')).toEqual(['handle', 'readings']);
  expect(names('const a = 1; export { a as handle };')).toEqual(['handle']);
  expect(names('export default { handle() {} };')).toEqual(['default']);
  expect(names('module.exports = { handle() {} };', 'f.cjs')).toEqual(['*']);
  expect(names('exports.handle = () => 1;\nexports.readings = () => 2;', 'f.js')).toEqual([
    'handle',
    'readings',
  ]);
});

test('lowered in a process of its own, a function and a mistake come out the same', async () => {
  const root = fileURLToPath(new URL('../../../../', import.meta.url));
  const program = join(folder, 'lower-function.mjs');
  await build({
    entryPoints: [join(root, 'packages/images/src/functions/lower-main.ts')],
    outfile: program,
    bundle: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@skerry/source'],
    external: ['typescript-es5'],
    logLevel: 'error',
  });
  execFileSync('ln', ['-s', join(root, 'node_modules'), join(folder, 'node_modules')]);
  const source = 'const n = 1;\nexport const handle = () => [`ä`, n];';
  expect(await lowerApart(source, 'f.ts', program)).toEqual(lower(source, 'f.ts'));
  await expect(lowerApart('export const handle = async () => 1;', 'f.ts', program)).rejects.toMatchObject({
    code: 'function_invalid',
    details: { line: 1, column: 23 },
  });
});
