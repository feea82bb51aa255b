/**
 * Lowers a JavaScript or TypeScript function to the ES5 that pebble's engine takes (Duktape 2.7; guests/pebble/README.md has
 * the contract). What can't be lowered is an error with its line in the user's source. TypeScript 5.9 is the compiler: it has an
 * API and the target ES5 (ADR 3); it is loaded when it is needed.
 */
import { createRequire } from 'node:module';
import { SkerryError } from '@skerry/model';
import type * as TS from 'typescript-es5';
import { repairErrors } from './builtin-classes.ts';
import { declaredNames } from './declared.ts';
import { exportedNames } from './exported.ts';
import { findRefused } from './refused.ts';

export interface LoweredFunction {
  /** ES5, UTF-8: what the guest gets. */
  readonly text: string;
  readonly exports: readonly string[];
}

let compiler: typeof TS | undefined;
function loadCompiler(): typeof TS {
  compiler ??= createRequire(import.meta.url)('typescript-es5') as typeof TS;
  return compiler;
}

const KINDS: Record<string, 'TS' | 'JS'> = {
  '.ts': 'TS',
  '.mts': 'TS',
  '.js': 'JS',
  '.mjs': 'JS',
  '.cjs': 'JS',
};

const invalid = (message: string, line?: number, column?: number) =>
  new SkerryError('function_invalid', line === undefined ? message : `line ${line}: ${message}`, {
    details: line === undefined ? {} : { line, column, errors: [{ line, field: undefined, message }] },
  });

/** `filename` tells the language by its ending. Errors: function_invalid with details {line, column}, both from 1. */
export function lower(source: string, filename: string): LoweredFunction {
  const ending = /\.[a-z]+$/.exec(filename)?.[0] ?? '';
  const kind = KINDS[ending];
  if (!kind) throw invalid(`"${filename}" ends in no known way: ${Object.keys(KINDS).join(', ')} are known`);
  try {
    return lowerText(loadCompiler(), source, kind);
  } catch (error) {
    // The compiler walks the tree by calling itself.
    if (error instanceof RangeError) throw invalid('the function is nested too deeply to be lowered');
    throw error;
  }
}

function lowerText(ts: typeof TS, source: string, kind: 'TS' | 'JS'): LoweredFunction {
  const fileName = kind === 'TS' ? 'function.ts' : 'function.js';
  const file = ts.createSourceFile(fileName, source, ts.ScriptTarget.ESNext, true, ts.ScriptKind[kind]);
  const at = (position: number) => {
    const { line, character } = file.getLineAndCharacterOfPosition(position);
    return [line + 1, character + 1] as const;
  };
  const syntax = (file as unknown as { parseDiagnostics: readonly TS.DiagnosticWithLocation[] })
    .parseDiagnostics[0];
  if (syntax) throw invalid(ts.flattenDiagnosticMessageText(syntax.messageText, ' '), ...at(syntax.start));
  const declared = declaredNames(ts, file);
  const refused = findRefused(ts, file, declared);
  if (refused) throw invalid(refused.message, ...at(refused.node.getStart(file)));
  const exported = exportedNames(ts, file);
  if (!exported.some((name) => ['handle', 'readings', 'default', '*'].includes(name))) {
    throw invalid(
      'the function exports neither handle nor readings: write `export function handle(request) { … }` or `export function readings(rows) { … }`',
    );
  }
  const { outputText, diagnostics } = ts.transpileModule(source, {
    fileName,
    reportDiagnostics: true,
    transformers: { before: [repairErrors(ts, declared)] },
    compilerOptions: {
      target: ts.ScriptTarget.ES5,
      module: ts.ModuleKind.CommonJS,
      downlevelIteration: true,
      allowJs: true,
      removeComments: true,
      newLine: ts.NewLineKind.LineFeed,
      ignoreDeprecations: '5.0',
    },
  });
  const problem = diagnostics?.find(
    (one) => one.category === ts.DiagnosticCategory.Error && one.start !== undefined,
  );
  if (problem)
    throw invalid(ts.flattenDiagnosticMessageText(problem.messageText, ' '), ...at(problem.start!));
  return { text: escapeStrange(outputText), exports: exported };
}

/**
 * Halves of surrogate pairs as escapes: written out, the engine would take a pair for one character, unlike the same one in
 * a request. Line separators may stand in a string since ES2019 only. Both are met in texts and patterns, where escapes mean them.
 */
const escapeStrange = (text: string) =>
  text.replace(/[\u2028\u2029\ud800-\udfff]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);
