/** A first file system for Linux, of busybox and a script: newc cpio (docs.kernel.org/driver-api/early-userspace/buffer-format.html). */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const hex = (value: number) => value.toString(16).padStart(8, '0');
const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

function entry(name: string, mode: number, data: Buffer, inode: number): Buffer {
  const numbers = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  return Buffer.concat([padded(Buffer.from(`070701${numbers.map(hex).join('')}${name}\0`)), padded(data)]);
}

/** `script` is run by busybox' shell as init. */
export function initramfs(script: string): Buffer {
  const folders = ['bin', 'proc', 'dev', 'sys'];
  return Buffer.concat([
    ...folders.map((name, i) => entry(name, 0o040755, Buffer.alloc(0), i + 1)),
    entry('bin/busybox', 0o100755, readFileSync('/bin/busybox'), 10),
    entry('init', 0o100755, Buffer.from(`#!/bin/busybox sh\n${script}\n`), 11),
    entry('TRAILER!!!', 0, Buffer.alloc(0), 0),
  ]);
}

/** The kernel in a package of Debian, unpacked into the folder for temporary files, once. */
function unpackedKernel(deb: string): string {
  const kept = join(tmpdir(), 'skerry-kernels', basename(deb, '.deb'));
  const folder = join(kept, 'boot');
  if (!existsSync(folder)) {
    const fresh = `${kept}.${process.pid}`;
    mkdirSync(fresh, { recursive: true });
    execFileSync('dpkg-deb', ['-x', deb, fresh]);
    for (const name of ['lib', 'usr']) rmSync(join(fresh, name), { recursive: true, force: true });
    rmSync(kept, { recursive: true, force: true });
    renameSync(fresh, kept);
  }
  return folder;
}

/** A Linux kernel for amd64 that is on this machine anyway: the system's, or in a package that the sample guests are built of. */
export function findLinuxKernel(): string | undefined {
  const packages = fileURLToPath(new URL('../../../../../guests/debian/build/amd64/', import.meta.url));
  const debs = existsSync(packages)
    ? readdirSync(packages).filter((name) => /^linux-image-[0-9].*-amd64_.*\.deb$/.test(name))
    : [];
  return ['/boot', ...debs.map((name) => unpackedKernel(join(packages, name)))]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .find((path) => /\/vmlinuz-[^/]*$/.test(path));
}
