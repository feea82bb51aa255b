/**
 * Runs a program of the host to its end. Arguments are an array, never a shell string; a time limit and an AbortSignal
 * are mandatory; output is capped. The command's words reach the caller in a SkerryError, its environment never does.
 */
import { spawn } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { SkerryError } from '@skerry/model';

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly input?: string | Buffer;
  /** Default: a minimal PATH and LC_ALL=C. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Output over this many bytes (stdout and stderr each) ends the program. Default 4 MiB. */
  readonly maxOutputBytes?: number;
  /** Exit codes that are no error. Default [0]. */
  readonly okCodes?: readonly number[];
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const HOST_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

/** Errors: host_missing (no such program), host_timeout, host_command_failed (details: file, code, stderr), cancelled. */
export function run(file: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const cap = options.maxOutputBytes ?? 4 * 1024 * 1024;
  return new Promise((resolve, reject) => {
    if (options.signal.aborted)
      return reject(new SkerryError('cancelled', `${file} was not started: cancelled`));
    const child = spawn(file, [...args], {
      cwd: options.cwd ?? '/',
      env: { ...(options.env ?? HOST_ENV) },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let failure: SkerryError | undefined;
    const end = (error: SkerryError) => {
      failure ??= error;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(
      () => end(new SkerryError('host_timeout', `${file} did not end within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    setMaxListeners(0, options.signal); // many programs may run under one signal
    const onAbort = () => end(new SkerryError('cancelled', `${file} was ended: cancelled`));
    options.signal.addEventListener('abort', onAbort, { once: true });
    const collect = (stream: NodeJS.ReadableStream) => {
      const chunks: Buffer[] = [];
      let size = 0;
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > cap) end(new SkerryError('host_command_failed', `${file} printed more than ${cap} bytes`));
        else chunks.push(chunk);
      });
      return () => Buffer.concat(chunks).toString('utf8');
    };
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    child.stdin.on('error', () => undefined); // a program that ends without reading its input is no error of its own
    child.stdin.end(options.input ?? '');
    const finish = () => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', onAbort);
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      finish();
      const missing = cause.code === 'ENOENT';
      reject(
        new SkerryError(
          missing ? 'host_missing' : 'host_command_failed',
          missing ? `the program ${file} is not installed` : `${file} could not be started: ${cause.message}`,
          { cause, details: { file } },
        ),
      );
    });
    child.on('close', (code, signalName) => {
      finish();
      if (failure) return reject(failure);
      const result = { code: code ?? 128, stdout: stdout(), stderr: stderr() };
      if (code !== null && (options.okCodes ?? [0]).includes(code)) return resolve(result);
      const words = result.stderr.trim().split('\n').slice(-5).join(' | ').slice(0, 600);
      const how = code === null ? `was ended by ${signalName}` : `failed with code ${code}`;
      reject(
        new SkerryError('host_command_failed', `${file} ${how}${words ? `: ${words}` : ''}`, {
          details: { file, code, stderr: words },
        }),
      );
    });
  });
}
