/**
 * Runs a program of the host to its end. Arguments are an array, never a shell string; a time limit and an AbortSignal
 * are mandatory; output is capped. The command's words reach the caller in a SkerryError, its environment never does.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { SkerryError } from '@skerry/model';
import { errnoName, type Launched, Launcher, type Launching, signalName } from './launcher.ts';

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
  /** Open files that the program gets as its descriptors 3, 4, … (`/proc/self/fd/3`), whatever the way to them is closed by. */
  readonly files?: readonly number[];
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

let launcher: Launcher | undefined;

/**
 * From now on programs are started by skerry-launch at `path`, which takes a tenth of the time. One for the whole process,
 * for it is the process that is slow to fork. Should it end, programs are started without it. Returns what ends it.
 */
export function launchThrough(path: string): () => void {
  const own = new Launcher(path, HOST_ENV);
  launcher = own;
  return () => {
    if (launcher === own) launcher = undefined;
    own.close();
  };
}

/** Without the launcher: for what has an environment or a folder of its own. */
function forked(file: string, args: readonly string[], options: RunOptions, cap: number): Launching {
  const child = spawn(file, [...args], {
    cwd: options.cwd ?? '/',
    env: { ...(options.env ?? HOST_ENV) },
    stdio: ['pipe', 'pipe', 'pipe', ...(options.files ?? [])],
  }) as ChildProcessByStdio<Writable, Readable, Readable>;
  let tooMuch = false;
  const collect = (stream: NodeJS.ReadableStream) => {
    const chunks: Buffer[] = [];
    let size = 0;
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= cap) return chunks.push(chunk);
      tooMuch = true;
      return child.kill('SIGKILL');
    });
    return () => Buffer.concat(chunks);
  };
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin.on('error', () => undefined); // a program that ends without reading its input is no error of its own
  child.stdin.end(options.input ?? '');
  const ended = new Promise<Launched>((resolve) => {
    const end = (how: Launched['how'], number: number) =>
      resolve({ how, number, stdout: stdout(), stderr: stderr() });
    child.on('error', (error: NodeJS.ErrnoException) => end('not-started', -(error.errno ?? 0)));
    child.on('close', (code, signal) => {
      if (tooMuch) return end('too-much', 0);
      if (code !== null) return end('exited', code);
      return end('signaled', constants.signals[signal!] ?? 0);
    });
  });
  return { ended, kill: () => void child.kill('SIGKILL') };
}

/** Errors: host_missing (no such program), host_timeout, host_command_failed (details: file, code, stderr), cancelled. */
export async function run(file: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { signal, timeoutMs } = options;
  const cap = options.maxOutputBytes ?? 4 * 1024 * 1024;
  if (signal.aborted) throw new SkerryError('cancelled', `${file} was not started: cancelled`);
  const own = options.env !== undefined || options.cwd !== undefined || options.files !== undefined;
  const launching =
    launcher?.usable && !own
      ? launcher.run(file, args, options.input ?? '', cap)
      : forked(file, args, options, cap);
  let failure: SkerryError | undefined;
  const end = (error: SkerryError) => {
    failure ??= error;
    launching.kill();
  };
  const timer = setTimeout(
    () => end(new SkerryError('host_timeout', `${file} did not end within ${timeoutMs} ms`)),
    timeoutMs,
  );
  setMaxListeners(0, signal); // many programs may run under one signal
  const onAbort = () => end(new SkerryError('cancelled', `${file} was ended: cancelled`));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const launched = await launching.ended;
    if (launched.how === 'not-started') throw notStarted(file, launched.number);
    if (launched.how === 'too-much')
      throw new SkerryError('host_command_failed', `${file} printed more than ${cap} bytes`);
    if (failure) throw failure;
    return judge(file, launched, options.okCodes ?? [0]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function notStarted(file: string, errno: number): SkerryError {
  const missing = errno === constants.errno.ENOENT;
  return new SkerryError(
    missing ? 'host_missing' : 'host_command_failed',
    missing ? `the program ${file} is not installed` : `${file} could not be started: ${errnoName(errno)}`,
    { details: { file } },
  );
}

function judge(file: string, launched: Launched, okCodes: readonly number[]): RunResult {
  const byItself = launched.how === 'exited';
  const code = byItself ? launched.number : 128;
  const stderr = launched.stderr.toString('utf8');
  if (byItself && okCodes.includes(code)) return { code, stdout: launched.stdout.toString('utf8'), stderr };
  const words = stderr.trim().split('\n').slice(-5).join(' | ').slice(0, 600);
  const how = byItself ? `failed with code ${code}` : `was ended by ${signalName(launched.number)}`;
  throw new SkerryError('host_command_failed', `${file} ${how}${words ? `: ${words}` : ''}`, {
    details: { file, code: byItself ? code : null, stderr: words },
  });
}
