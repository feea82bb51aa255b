/** Where the program finds what was built beside its bundle: from a checkout and after `make install` alike. */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SkerryError } from '@skerry/model';

const built = {
  pebble: 'guests/pebble/build/pebble.elf',
  supervisor: 'packages/runtimes/native/build/skerry-run',
  launcher: 'packages/host/native/build/skerry-launch',
  echo: 'packages/host/native/build/skerry-echo',
  leaseGuard: 'packages/host/native/build/skerry-lease',
  labLink: 'packages/host/native/build/skerry-link',
  labMachine: 'packages/host/native/build/skerry-machine',
} as const;

export type BuiltPart = keyof typeof built;

/** The script that node was started with: `<root>/dist/skerry.mjs`. */
export const programPath = (): string => realpathSync(process.argv[1]!);

/** The program of a node for devices and streams, beside the bundle. */
export const devicesScript = (): string => join(dirname(programPath()), 'devices.mjs');

/** Errors: host_missing naming what was not built. */
export function builtPath(part: BuiltPart): string {
  const path = join(resolve(dirname(programPath()), '..'), built[part]);
  if (!existsSync(path)) throw new SkerryError('host_missing', `${path} was not built: run \`make setup\``);
  return path;
}
