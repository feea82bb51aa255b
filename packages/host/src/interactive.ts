/**
 * A program of the host that somebody talks to while it runs: input, outputs, its end. It is our child and ends with us. On a
 * terminal where a size is given (skerry-pty, for programs that relay one); then it has one output.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { SkerryError } from '@skerry/model';
import { HOST_ENV } from './run.ts';

export interface InteractiveProgram {
  readonly input: Writable;
  readonly stdout: Readable;
  /** Absent on a terminal. */
  readonly stderr?: Readable;
  /** Its status; 128 and the signal that ended it. */
  readonly exit: Promise<number>;
  resize(columns: number, rows: number): void;
  /** By SIGKILL. */
  kill(): void;
}

export interface InteractiveOptions {
  readonly terminal?: { readonly columns: number; readonly rows: number; readonly ptyProgram: string };
}

/** Errors: host_missing, host_command_failed. */
export async function startInteractive(
  file: string,
  args: readonly string[],
  { terminal }: InteractiveOptions,
): Promise<InteractiveProgram> {
  const [program, words] = terminal
    ? [terminal.ptyProgram, [String(terminal.columns), String(terminal.rows), '--', file, ...args]]
    : [file, [...args]];
  const child: ChildProcess = spawn(program, words, {
    cwd: '/',
    env: { ...HOST_ENV },
    stdio: ['pipe', 'pipe', 'pipe', ...(terminal ? (['pipe'] as const) : [])],
  });
  const exit = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      const text = missing ? `the program ${program} is not installed` : `${program} could not be started`;
      reject(new SkerryError(missing ? 'host_missing' : 'host_command_failed', text, { cause }));
    });
  });
  const control = child.stdio[3] as Writable | undefined;
  for (const stream of [child.stdin!, control]) stream?.on('error', () => undefined); // it ended; `exit` tells
  return {
    input: child.stdin!,
    stdout: child.stdout!,
    ...(terminal ? {} : { stderr: child.stderr! }),
    exit,
    resize: (columns, rows) => void control?.write(`${columns} ${rows}\n`),
    kill: () => void child.kill('SIGKILL'),
  };
}
