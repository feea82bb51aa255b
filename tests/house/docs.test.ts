// The documentation is held to the code: generated pages, links, commands, tests and error codes that it names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseManifests } from '@skerry/contract/schema';
import { ERRORS, type SkerryError } from '@skerry/model';
import { expect, test } from 'vitest';
import { createProgram } from '../../apps/cli/src/program.ts';
import { VERSION } from '../../apps/cli/src/version.ts';
import { FIELDS } from '../../scripts/docs/manifest-fields.ts';
import { fieldsByKind } from '../../scripts/docs/manifest-page.ts';
import { referencePages } from '../../scripts/docs/reference.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SKIPPED = ['node_modules', 'dist', 'build', '.git', '.setup'];

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return SKIPPED.includes(entry.name) || /^dist\./.test(entry.name) ? [] : filesBelow(path, pattern);
    return pattern.test(entry.name) ? [path] : [];
  });
}

const pages = filesBelow(root, /\.md$/).map((file) => ({
  file,
  name: relative(root, file),
  text: readFileSync(file, 'utf8'),
}));
/** Without blocks and spans of code. */
const proseOf = (text: string) => text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
/** As GitHub makes them of headings. */
const anchorsOf = (text: string) =>
  [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#{1,6} +(.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

test('the pages of docs/reference are those that the code gives; `make docs` writes them anew', () => {
  for (const [path, text] of Object.entries(referencePages()))
    expect(readFileSync(join(root, path), 'utf8'), path).toBe(text);
});

test('every field of a manifest has its words, and no words are left of a field that is gone', () => {
  const kinds = fieldsByKind();
  expect(kinds.size).toBeGreaterThan(3);
  for (const [kind, fields] of kinds) {
    expect(Object.keys(FIELDS[kind] ?? {}).sort(), kind).toEqual(fields.map(({ path }) => path).sort());
    expect(Object.keys(FIELDS.kinds!)).toContain(kind);
  }
});

test('every link between pages leads to a file, and to a heading where it names one', () => {
  const broken: string[] = [];
  let seen = 0;
  for (const { file, name, text } of pages) {
    for (const [, target] of proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      seen++;
      const [path, anchor] = target!.split('#') as [string, string?];
      const to = path === '' ? file : resolve(dirname(file), path);
      if (!existsSync(to)) broken.push(`${name}: ${target}`);
      else if (anchor && !anchorsOf(readFileSync(to, 'utf8')).includes(anchor))
        broken.push(`${name}: ${target} (no such heading)`);
    }
  }
  expect(broken).toEqual([]);
  expect(seen).toBeGreaterThan(20);
});

test('every file that a page names by its path is there', () => {
  const missing = pages.flatMap(({ name, text }) =>
    [...text.matchAll(/`((?:packages|apps|tests|guests|bench|scripts|examples|docs)\/[\w./-]+)`/g)]
      .map((match) => match[1]!)
      .filter((path) => !/(^|\/)(build|results)(\/|$)/.test(path) && !existsSync(join(root, path)))
      .map((path) => `${name}: ${path}`),
  );
  expect(missing).toEqual([]);
});

test('every promise of SPECIFICATION.md names what holds it', () => {
  const text = readFileSync(join(root, 'SPECIFICATION.md'), 'utf8');
  const promises = text.split('\n').filter((line) => /^\| \d/.test(line));
  expect(promises.length).toBeGreaterThan(20);
  const bare = promises.filter((line) => !/`[\w/.-]+\.(test\.)?ts`/.test(line));
  expect(bare).toEqual([]);
});

test('every command line that a page shows exists', () => {
  const known = new Set(
    [...referencePages()['docs/reference/cli.md']!.matchAll(/^### `skerry ([^`]+)`$/gm)].map((match) =>
      match[1]!.replace(/ [<[].*$/, ''),
    ),
  );
  expect(known.size).toBeGreaterThan(25);
  const wrong = pages.flatMap(({ name, text }) =>
    [...text.matchAll(/(?:^|`|\$ )(?:sudo )?(?:bin\/)?skerry ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)/gm)]
      .map((match) => match[1]!)
      .filter((words) => !known.has(words) && !known.has(words.split(' ')[0]!))
      .map((words) => `${name}: skerry ${words}`),
  );
  expect(wrong).toEqual([]);
});

test('every option of a command line that a page shows is one of that command', () => {
  const program = createProgram();
  const wrong: string[] = [];
  let seen = 0;
  for (const { name, text } of pages) {
    const lines = [...text.matchAll(/(?:^|`|\$ )(?:sudo )?(?:bin\/)?skerry ([^`\n]*)/gm)].map(
      ([, words]) => words!,
    );
    for (const line of lines) {
      const [own = ''] = line.split(/ -- | #|\s{2,}|…/);
      const words = own.split(' ');
      let command = program;
      for (const word of words) command = command.commands.find((one) => one.name() === word) ?? command;
      const known = new Set(['--help']);
      for (let at: typeof program | null = command; at !== null; at = at.parent)
        for (const { long } of at.options) if (long) known.add(long);
      for (const [option] of own.matchAll(/(?<= )--[a-z][a-z-]*/g)) {
        seen++;
        if (!known.has(option)) wrong.push(`${name}: skerry ${own}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(seen).toBeGreaterThan(60);
});

test('every whole manifest that a page or an example shows is one that is taken', () => {
  const wrong: string[] = [];
  let seen = 0;
  const examples = filesBelow(join(root, 'examples'), /\.yaml$/)
    .map((file) => ({ name: relative(root, file), text: readFileSync(file, 'utf8') }))
    .filter(({ text }) => !/^kind: Lab$/m.test(text)); // `skerry lab` reads those, and its tests do
  const shown = pages.flatMap(({ name, text }) =>
    [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)]
      .map(([, block]) => ({ name, text: block! }))
      .filter((block) => block.text.startsWith('apiVersion:') && !/^kind: Lab$/m.test(block.text)),
  );
  for (const { name, text } of [...examples, ...shown]) {
    seen++;
    try {
      parseManifests(text);
    } catch (error) {
      wrong.push(`${name}: ${JSON.stringify((error as SkerryError).details)}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(seen).toBeGreaterThan(12);
});

test('every error code is used somewhere besides the registry', () => {
  const code = ['packages', 'apps']
    .flatMap((folder) => filesBelow(join(root, folder), /\.ts$/))
    .filter((file) => !/\.test\.ts$|\/testing\/|model\/src\/errors\.ts$/.test(file))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const codes = Object.keys(ERRORS);
  expect(codes.filter((name) => !code.includes(`'${name}'`))).toEqual([]);
});

test('package.json and the program say the same version, and the change log has it', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect(VERSION).toBe(version);
  expect(readFileSync(join(root, 'CHANGELOG.md'), 'utf8')).toContain(`## ${version}`);
});
