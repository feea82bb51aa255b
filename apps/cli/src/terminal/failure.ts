/** Errors as a person reads them: what failed, why, what to do. Exit code 1 for a failure, 2 for wrong use. */
import { ERRORS, type ErrorCode, SkerryError } from '@skerry/model';

interface Line {
  readonly line?: number;
  readonly field?: string;
  readonly message?: string;
}

/** Where the registry's words are for whoever writes requests, and not for whoever types commands. */
const REMEDIES: Partial<Record<ErrorCode, string>> = {
  request_invalid: 'Correct it and try again; --help behind a command tells what it takes.',
};

/** The text of an error, without a stack; `details.file` is put before line numbers of a manifest, `details.remedy` is what to do in place of the usual words. */
export function formatFailure(error: unknown): string {
  const file =
    error instanceof SkerryError && typeof error.details.file === 'string' ? error.details.file : undefined;
  if (!(error instanceof SkerryError)) {
    return `skerry: ${error instanceof Error ? error.message : String(error)}\n`;
  }
  const lines: string[] = [];
  const listed = error.details.errors;
  if (Array.isArray(listed) && listed.length > 0) {
    lines.push(`skerry: ${ERRORS[error.code].title.toLowerCase()}${file ? ` (${file})` : ''}`);
    for (const { line, field, message } of listed as Line[]) {
      const where = [file && line ? `${file}:${line}` : line ? `line ${line}` : undefined, field]
        .filter(Boolean)
        .join(': ');
      lines.push(`  ${where ? `${where}: ` : ''}${message ?? ''}`);
    }
  } else {
    const { line, column } = error.details as { line?: number; column?: number };
    const where = file && line ? `${file}:${line}${column ? `:${column}` : ''}: ` : '';
    lines.push(`skerry: ${where}${error.message}`);
  }
  const { remedy } = error.details as { remedy?: string };
  lines.push(`  ${remedy ?? REMEDIES[error.code] ?? ERRORS[error.code].remedy} [${error.code}]`);
  return `${lines.join('\n')}\n`;
}

/** 2 for what the user can only mend by asking differently, 1 for all else. A command's own code is kept (`exec`). */
export function exitCodeOf(error: unknown): number {
  return error instanceof SkerryError && error.code === 'request_invalid' ? 2 : 1;
}
