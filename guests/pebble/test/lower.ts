/** Lowers a TypeScript function to what pebble takes, as the contract in README.md says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript-es5';
import { folder } from './guest.ts';

export function lower(source: string): string {
  const { outputText, diagnostics = [] } = ts.transpileModule(source, {
    reportDiagnostics: true,
    compilerOptions: {
      target: ts.ScriptTarget.ES5,
      module: ts.ModuleKind.CommonJS,
      downlevelIteration: true,
    },
  });
  if (diagnostics.length)
    throw new Error(diagnostics.map((d) => ts.flattenDiagnosticMessageText(d.messageText, '\n')).join('\n'));
  return outputText;
}

export function thermo(): string {
  return lower(readFileSync(join(folder, 'functions', 'thermo.ts'), 'utf8'));
}
