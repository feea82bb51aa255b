// Writes the pages of docs/reference anew. They are made by TypeScript, which is bundled into a temporary file to be run.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
mkdirSync(join(root, '.setup'), { recursive: true });
// Inside the checkout: what stays outside the bundle is found in its node_modules.
const folder = mkdtempSync(join(root, '.setup/docs-'));
try {
  const outfile = join(folder, 'reference.mjs');
  await build({
    entryPoints: [join(root, 'scripts/docs/reference.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['@skerry/source'],
    logLevel: 'warning',
    external: ['better-sqlite3', '@lydell/node-pty', 'typescript-es5'],
    banner: {
      js: "import { createRequire as docsRequire } from 'node:module'; const require = docsRequire(import.meta.url);",
    },
  });
  const { referencePages } = await import(pathToFileURL(outfile).href);
  for (const [path, text] of Object.entries(referencePages())) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    console.log(path);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
