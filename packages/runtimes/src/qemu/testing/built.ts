/** What tests of QEMU's runtimes need built: skerry-run, and pebble, which is also what acceleration is tried with. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));
const pebble = join(root, 'guests/pebble');
const native = join(root, 'packages/runtimes/native');

export const kernelPath = join(pebble, 'build/pebble.elf');
export const supervisorPath = join(native, 'build/skerry-run');

export function buildNative(): void {
  execFileSync('make', ['-s', '-C', native]);
}

export function buildPebble(): void {
  execFileSync('make', ['-s', '-C', pebble]);
}
