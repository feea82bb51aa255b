/** Kernel settings below /proc/sys (sysctl(8)), by path: `net/ipv4/ip_forward`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { SkerryError } from '@skerry/model';

export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Errors: host_missing when the kernel has no such setting or does not let us write it. */
export function writeSysctl(path: string, value: string): void {
  try {
    if (readSysctl(path) !== value) writeFileSync(`/proc/sys/${path}`, value);
  } catch (cause) {
    const name = path.replaceAll('/', '.');
    throw new SkerryError('host_missing', `the kernel setting ${name} can not be set to ${value}`, { cause });
  }
}
