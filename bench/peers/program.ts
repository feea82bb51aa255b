/** Starts and ends the programs that Skerry is measured beside; each is ended by its id. */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';

/** Runs to its end, not to that of what it left running; returns milliseconds. Errors: what it said, when its status is not 0. */
export function run(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const begunMs = performance.now();
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000, env });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      const tookMs = performance.now() - begunMs;
      child.stderr.destroy();
      if (code === 0) resolve(tookMs);
      else reject(new Error(`${file} ${args.join(' ')}: ${code ?? signal}: ${stderr}`));
    });
  });
}

export function background(file: string, args: readonly string[], log: string): ChildProcess {
  const out = openSync(log, 'a');
  return spawn(file, args, { stdio: ['ignore', out, out] });
}

/** SIGTERM, and SIGKILL after ten seconds. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(timer);
}
