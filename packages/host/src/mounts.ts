/** Mounts of the host's mount namespace: what /proc/self/mountinfo says (proc(5)), mount(8) and umount(8). */
import { readFileSync } from 'node:fs';
import { run } from './run.ts';

const LIMIT_MS = 20_000;

/** Mount points at or below a folder, the deepest and latest first: the order to unmount them in. */
export function mountsBelow(folder: string): string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
  return points.filter((point) => point === folder || point.startsWith(`${folder}/`)).reverse();
}

/** Errors: host_missing, host_command_failed. */
export async function mountLoop(image: string, point: string, signal: AbortSignal): Promise<void> {
  await run('mount', ['-o', 'loop,nosuid,nodev,noatime', image, point], { signal, timeoutMs: LIMIT_MS });
}

/** Unmounts all at or below the folder; what is in use is taken out of sight and ends with its last user. */
export async function unmountBelow(folder: string, signal: AbortSignal): Promise<void> {
  const points = mountsBelow(folder);
  if (points.length > 0)
    await run('umount', ['--lazy', ...points], { signal, timeoutMs: LIMIT_MS, okCodes: [0, 1, 32] });
}
