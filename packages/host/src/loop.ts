/**
 * Who holds an image file that can be mounted by loop (loop(4)): loop devices over it, mounts of them in any mount namespace,
 * and processes that keep its bytes locked, as QEMU does with its disks.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';

const readOr = <T>(read: () => T, otherwise: T): T => {
  try {
    return read();
  } catch {
    return otherwise; // it went meanwhile, or is none of ours to see
  }
};

/** Numbers (`7:3`) of the loop devices over a file. */
export function loopsOver(path: string): string[] {
  const real = readOr(() => realpathSync(path), path);
  const names = readOr(() => readdirSync('/sys/block'), []).filter((name) => name.startsWith('loop'));
  return names
    .filter(
      (name) =>
        readOr(() => readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim(), '') === real,
    )
    .map((name) => readOr(() => readFileSync(`/sys/block/${name}/dev`, 'utf8').trim(), ''))
    .filter((number) => number !== '');
}

/** Whether a folder of a device's file system, and not the whole of it, is mounted somewhere: into a container. */
export function isBoundElsewhere(device: string): boolean {
  const seen = new Set<string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const namespace = readOr(() => readlinkSync(`/proc/${pid}/ns/mnt`), '');
    if (namespace === '' || seen.has(namespace)) continue;
    seen.add(namespace);
    // Fields: id, parent, device, root in the file system, mount point (proc(5)).
    const mounts = readOr(() => readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), '').split('\n');
    if (mounts.some((line) => line.split(' ')[2] === device && line.split(' ')[3] !== '/')) return true;
  }
  return false;
}

/** Whether a process holds an open-file-description lock on the file (fcntl(2)), as QEMU does on the disks of its guest. */
export function isLockedOpen(path: string): boolean {
  if (!existsSync(path)) return false;
  const { dev, ino } = statSync(path, { bigint: true });
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const hex = (value: bigint) => value.toString(16).padStart(2, '0');
  const file = `${hex(major)}:${hex(minor)}:${ino}`;
  const locks = readOr(() => readFileSync('/proc/locks', 'utf8'), '').split('\n');
  return locks.some((line) => line.includes('OFDLCK') && line.includes(` ${file} `));
}
