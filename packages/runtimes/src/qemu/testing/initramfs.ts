/** A first file system for Linux, of busybox and a script: newc cpio (docs.kernel.org/driver-api/early-userspace/buffer-format.html). */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** A Linux kernel for amd64 that is on this machine anyway: of a sample guest, of the system, or laid into the folder for temporary files. */
export function findLinuxKernel(): string | undefined {
  const guests = fileURLToPath(new URL('../../../../../guests/', import.meta.url));
  const samples = readdirSync(guests).flatMap((name) => [
    join(guests, name, 'build'),
    join(guests, name, 'build/boot'),
  ]);
  return [...samples, '/boot', join(tmpdir(), 'skerry-kernels')]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .find((path) => /\/vmlinuz[^/]*$/.test(path) && !/arm64/.test(path));
}
