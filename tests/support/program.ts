/** The program as a user runs it: `bin/skerry` with a data folder of its own, ended and removed afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { leftoversOf } from './leftovers.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SKERRY = join(ROOT, 'bin/skerry');

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the CLI to its end. */
export function skerry(
  args: readonly string[],
  options: {
    env?: Record<string, string>;
    input?: string;
    timeoutMs?: number;
    /** Arguments of Node itself. */
    node?: readonly string[];
  } = {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const { node } = options;
    const file = node ? process.execPath : SKERRY;
    const child = spawn(file, [...(node ? [...node, join(ROOT, 'dist/skerry.mjs')] : []), ...args], {
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 60_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 128, stdout, stderr }));
  });
}

export interface Program {
  readonly dataDir: string;
  readonly id: string;
  /** A command against this instance; fails the test when it fails. */
  run(...args: string[]): Promise<string>;
  /** The same, whatever its exit code. */
  try(...args: string[]): Promise<Ran>;
  json<T>(...args: string[]): Promise<T>;
  pid(): number;
  /** SIGKILL to the program itself, by its id; guests are left alone. */
  kill(): Promise<void>;
  up(): Promise<void>;
  /** Ends it, removes all guests and all that is on the host, then the data folder. Returns what is left. */
  purge(): Promise<string[]>;
}

const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** `node`: arguments of the Node that runs the program. */
export async function startProgram(
  options: { args?: string[]; parent?: string; node?: readonly string[] } = {},
): Promise<Program> {
  const dataDir = mkdtempSync(join(options.parent ?? tmpdir(), 'skerry-t-'));
  const env = { SKERRY_DATA: dataDir, SKERRY_SERVER: '', NO_COLOR: '1' };
  const attempt = (...args: string[]) => skerry(args, { env });
  const run = async (...args: string[]) => {
    const ran = await attempt(...args);
    if (ran.code !== 0)
      throw new Error(`skerry ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}${ran.stdout}`);
    return ran.stdout;
  };
  const pid = () =>
    (JSON.parse(readFileSync(join(dataDir, 'skerry.pid'), 'utf8')) as { process: { pid: number } }).process
      .pid;
  const up = async () => {
    const { args = [], node } = options;
    const ran = await skerry(['up', '--detach', ...args], { env, ...(node && { node }) });
    if (ran.code !== 0) throw new Error(`skerry up ended with ${ran.code}: ${ran.stderr}${ran.stdout}`);
  };
  await up();
  const { id } = JSON.parse(readFileSync(join(dataDir, 'identity.json'), 'utf8')) as { id: string };
  return {
    dataDir,
    id,
    run,
    try: attempt,
    json: async <T>(...args: string[]) => JSON.parse(await run(...args, '--output', 'json')) as T,
    pid,
    up,
    async kill() {
      const victim = pid();
      process.kill(victim, 'SIGKILL');
      while (alive(victim)) await new Promise((resolve) => setImmediate(resolve));
    },
    async purge() {
      const ran = await attempt('down', '--purge', '--yes');
      const left = leftoversOf(id, dataDir);
      if (ran.code !== 0) left.unshift(`skerry down --purge ended with ${ran.code}: ${ran.stderr}`);
      rmSync(dataDir, { recursive: true, force: true });
      return left;
    },
  };
}

export function spawnSkerry(args: readonly string[], env: Record<string, string>): ChildProcess {
  return spawn(SKERRY, [...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
}
