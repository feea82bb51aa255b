/**
 * The guest's engine on the building machine, for tests: Debian's libduktape, with the library that pebble puts around it,
 * evaluates a lowered function and calls what it exports.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAM = `
#include <duktape.h>
#include <stdio.h>
int main(int argc, char **argv) {
  static char source[1 << 21];
  size_t length = fread(source, 1, sizeof source, stdin);
  duk_context *context = duk_create_heap_default();
  if (duk_peval_lstring(context, source, length)) {
    fprintf(stderr, "%s\\n", duk_safe_to_stacktrace(context, -1));
    return 1;
  }
  puts(duk_safe_to_string(context, -1));
  return 0;
}
`;

export interface Engine {
  /** `exports[name](...args)` of a lowered text. Throws what the engine says. */
  call(text: string, name: string, ...args: unknown[]): unknown;
}

export function createEngine(folder: string): Engine {
  const source = join(folder, 'engine.c');
  const program = join(folder, 'engine');
  writeFileSync(source, PROGRAM);
  execFileSync('gcc', ['-O1', '-o', program, source, '-lduktape', '-lm']);
  const guest = fileURLToPath(new URL('../../../../../guests/pebble/js/', import.meta.url));
  const library = ['polyfills.js', 'collections.js'].map((name) => readFileSync(join(guest, name), 'utf8'));
  return {
    call(text, name, ...args) {
      const input = [
        `(function () { 'use strict'; ${library.join('\n')} })();`,
        'var module = { exports: {} };',
        `(function (exports, module) { ${text}\n})(module.exports, module);`,
        `JSON.stringify({ value: module.exports[${JSON.stringify(name)}].apply(null, ${JSON.stringify(args)}) });`,
      ].join('\n');
      const answer = execFileSync(program, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
      return (JSON.parse(answer) as { value: unknown }).value;
    },
  };
}
