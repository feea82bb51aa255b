/**
 * What a program of the host writes, piece by piece as it comes, for output that no memory should hold: unpackers and
 * archivers. Like `run()`: arguments as an array, a time limit and an AbortSignal always.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { SkerryError } from '@skerry/model';
import { HOST_ENV } from './run.ts';

export interface ProgramOutputOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** A file that the program reads as its standard input; it is opened here, so the program needs no way to it. */
  readonly inputPath?: string;
  readonly cwd?: string;
}

const WORDS_BYTES = 4096;

/**
 * Yields standard output. The program is ended when the reader stops early. Errors: host_missing, host_timeout,
 * host_command_failed (details: file, code, stderr: its last 4 KiB), cancelled.
 */
export async function* programOutput(
  file: string,
  args: readonly string[],
  options: ProgramOutputOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const { signal, timeoutMs, inputPath, cwd = '/' } = options;
  if (signal.aborted) throw new SkerryError('cancelled', `${file} was not started: cancelled`);
  const input = inputPath === undefined ? undefined : openSync(inputPath, 'r');
  const child = spawn(file, [...args], {
    cwd,
    env: { ...HOST_ENV },
    stdio: [input ?? 'ignore', 'pipe', 'pipe'],
  });
  if (input !== undefined) closeSync(input);
  let failure: SkerryError | undefined;
  const end = (error: SkerryError) => {
    failure ??= error;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(
    () => end(new SkerryError('host_timeout', `${file} did not end within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const onAbort = () => end(new SkerryError('cancelled', `${file} was ended: cancelled`));
  signal.addEventListener('abort', onAbort, { once: true });
  let words = '';
  child.stderr!.on('data', (piece: Buffer) => {
    words = (words + piece.toString('utf8')).slice(-WORDS_BYTES);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      failure ??= new SkerryError(
        missing ? 'host_missing' : 'host_command_failed',
        missing ? `the program ${file} is not installed` : `${file} could not be started: ${cause.message}`,
        { cause, details: { file } },
      );
      resolve(null);
    });
    child.on('close', (code) => resolve(code));
  });
  try {
    for await (const piece of child.stdout!) yield piece as Buffer;
    const code = await ended;
    if (failure) throw failure;
    if (code === 0) return;
    const said = words.trim().split('\n').slice(-5).join(' | ').slice(0, 600);
    throw new SkerryError(
      'host_command_failed',
      `${file} failed with code ${code}${said ? `: ${said}` : ''}`,
      {
        details: { file, code, stderr: words },
      },
    );
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    child.kill('SIGKILL'); // nobody reads on
    await ended;
  }
}
