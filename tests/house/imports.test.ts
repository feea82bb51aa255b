// The direction of imports is the architecture: this reads every import and holds it to the list in ARCHITECTURE.md.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Each may import those before it. */
const ORDER = [
  'packages/model',
  'packages/contract',
  'packages/store',
  'packages/placement',
  'packages/reconcile',
  'packages/host',
  'packages/images',
  'packages/network',
  'packages/runtimes',
  'packages/devices',
  'packages/lab',
  'packages/testkit',
  'apps/controller',
  'apps/agent',
  'apps/cli',
];
/** The walls between processes: an agent never imports a controller, nor the other way round; both come together in the CLI's `up`. */
const FORBIDDEN: Record<string, string[]> = {
  'apps/agent': ['apps/controller'],
  'apps/controller': ['packages/runtimes', 'packages/network'],
};
const packageOf: Record<string, string> = Object.fromEntries(
  ORDER.map((path) => [path.replace('packages/', '@skerry/').replace('apps/', '@skerry/app-'), path]),
);

/** Tests, and what only tests load. */
const TEST_SUPPORT = /\.test\.ts$|\/testing\/|\/conformance(\.ts$|\/)/;

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return ['node_modules', 'dist', 'build'].includes(entry.name) ? [] : sources(path);
    return /\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

const files = [...sources(join(root, 'packages')), ...sources(join(root, 'apps'))];
const roomOf = (file: string) => relative(root, file).split(sep).slice(0, 2).join('/');
const importsOf = (text: string) =>
  [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s*'([^']+)'/g,
    ),
  ].map((match) => (match[1] ?? match[2] ?? match[3])!);

test('every room is in the order', () => {
  expect(files.length).toBeGreaterThan(20);
  expect([...new Set(files.map(roomOf))].filter((room) => !ORDER.includes(room))).toEqual([]);
});

test('imports go down the list only', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const from = roomOf(file);
    const isTest = TEST_SUPPORT.test(file);
    for (const specifier of importsOf(readFileSync(file, 'utf8'))) {
      const name = specifier.split('/').slice(0, 2).join('/');
      const to = specifier.startsWith('.') ? roomOf(resolve(dirname(file), specifier)) : packageOf[name];
      if (!to || to === from) continue;
      if (specifier.startsWith('.'))
        wrong.push(`${relative(root, file)}: reaches into ${to} by a relative path`);
      else if (isTest && to === 'packages/testkit') continue;
      else if (ORDER.indexOf(to) >= ORDER.indexOf(from) || FORBIDDEN[from]?.includes(to))
        wrong.push(`${relative(root, file)}: ${from} may not import ${to}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('only the host room spawns programs', () => {
  // The command line starts its own server process; QMP and containerd sockets are opened by node:net and gRPC.
  const allowed = ['packages/host', 'packages/testkit'];
  const wrong = files
    .filter((file) => !allowed.includes(roomOf(file)) && !TEST_SUPPORT.test(file))
    .filter((file) => importsOf(readFileSync(file, 'utf8')).some((name) => name === 'node:child_process'))
    .map((file) => relative(root, file));
  expect(wrong).toEqual([]);
});

test('no source file is over 500 lines', () => {
  const long = files
    .map((file) => ({ file: relative(root, file), lines: readFileSync(file, 'utf8').split('\n').length }))
    .filter(({ file, lines }) => lines > 500 && !/\.gen\.ts$/.test(file));
  expect(long).toEqual([]);
});
