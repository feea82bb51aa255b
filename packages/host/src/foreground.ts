/** A program in the foreground: it has our terminal, our input and our outputs until it ends. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { SkerryError } from '@skerry/model';
import { HOST_ENV } from './run.ts';

/** Returns its status, or 128 and the signal that ended it. Errors: host_missing, host_command_failed. */
export function runInForeground(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args], { cwd: '/', env: { ...HOST_ENV, ...env }, stdio: 'inherit' });
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      const text = missing ? `the program ${file} is not installed` : `${file} could not be started`;
      reject(new SkerryError(missing ? 'host_missing' : 'host_command_failed', text, { cause }));
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
