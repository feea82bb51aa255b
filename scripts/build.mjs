// Bundles the program into dist/: one entry, chunks that load only when they are needed (memory counts at the edge).
// `--if-changed`: does nothing when no source is newer than the bundle.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = join(root, 'dist/.built');

function newest(folder) {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules') latest = Math.max(latest, newest(path));
    } else latest = Math.max(latest, statSync(path).mtimeMs);
  }
  return latest;
}

function builtAt() {
  try {
    return statSync(stamp).mtimeMs;
  } catch {
    return 0;
  }
}

const sources = ['packages', 'apps', 'scripts'].map((name) => newest(join(root, name)));
sources.push(statSync(join(root, 'package-lock.json')).mtimeMs);
if (process.argv.includes('--if-changed') && builtAt() > Math.max(...sources)) process.exit(0);

// Beside the old one and swapped at the end: a program that starts meanwhile finds one or the other.
const fresh = join(root, `dist.${process.pid}`);
mkdirSync(fresh, { recursive: true });
await build({
  entryPoints: {
    skerry: join(root, 'apps/cli/src/main.ts'),
    devices: join(root, 'packages/devices/src/hub/main.ts'),
    'lower-function': join(root, 'packages/images/src/functions/lower-main.ts'),
  },
  outdir: fresh,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  conditions: ['@skerry/source'],
  sourcemap: 'linked',
  logLevel: 'warning',
  // Native code and what is large, loaded from node_modules when it is used.
  external: ['better-sqlite3', '@lydell/node-pty', 'typescript-es5'],
  // Some packages are CommonJS and ask for require at run time.
  banner: {
    js: "import { createRequire as skerryRequire } from 'node:module'; const require = skerryRequire(import.meta.url);",
  },
});
cpSync(join(root, 'package.json'), join(fresh, 'package.json'));
writeFileSync(join(fresh, '.built'), new Date().toISOString());
const old = `${fresh}.old`;
if (existsSync(join(root, 'dist'))) renameSync(join(root, 'dist'), old);
renameSync(fresh, join(root, 'dist'));
rmSync(old, { recursive: true, force: true });
