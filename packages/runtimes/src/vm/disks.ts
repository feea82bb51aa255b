/**
 * The disks of a virtual machine: a qcow2 of its own over the image, which is never copied and never written. Formats are
 * said wherever a disk is opened: what a guest writes to its disk never decides how the host reads it.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { GUEST_GID, GUEST_UID, run } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import type { SeedFiles } from './cloud-init.ts';
import type { VmImage } from './vm-image.ts';

const LIMIT_MS = 60_000;
const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');
export const QEMU_IMG = '/usr/bin/qemu-img';

/** Errors: disk_full, host_missing, host_command_failed, cancelled. */
export async function qemuImg(args: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return (await run(QEMU_IMG, args, { signal, timeoutMs: LIMIT_MS })).stdout;
  } catch (error) {
    throw asDiskFull(error);
  }
}

export function asDiskFull(thrown: unknown): SkerryError {
  const error = asSkerryError(thrown);
  const isFull =
    (thrown as NodeJS.ErrnoException).code === 'ENOSPC' || /No space left on device/.test(error.message);
  return isFull
    ? new SkerryError('disk_full', 'the host has no room for the disk', { cause: thrown })
    : error;
}

/** Without an image (an installation from an ISO) it is empty. Errors: as qemuImg. */
export async function makeDisk(
  path: string,
  image: VmImage | undefined,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  // -u: nobody opens the image here; its header was read by ourselves
  const backing = image ? ['-u', '-b', image.path, '-F', image.format] : [];
  await qemuImg(['create', '-q', '-f', 'qcow2', ...backing, path, String(sizeBytes)], signal);
  chmodSync(path, 0o600);
}

/** Of a disk that is not in use. Smaller than it is: nothing changes. Errors: as qemuImg. */
export async function growDisk(path: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const size = wholeSectors(sizeBytes);
  const info = await qemuImg(['info', '--output=json', '-U', '-f', 'qcow2', path], signal);
  const now = (JSON.parse(info) as { 'virtual-size': number })['virtual-size'];
  if (size > now) await qemuImg(['resize', '-q', '-f', 'qcow2', path, String(size)], signal);
}

/** Whole sectors. */
export const wholeSectors = (bytes: number): number => Math.ceil(bytes / 512) * 512;

/** An ISO 9660 image with the label that cloud-init looks for; its files are never in an argument. Errors: as qemuImg. */
export async function makeSeed(path: string, files: SeedFiles, signal: AbortSignal): Promise<void> {
  const folder = `${path}.files`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(folder, name), text as string, { mode: 0o600 });
    writeFileSync(path, '', { mode: 0o600 });
    const look = ['-quiet', '-volid', 'CIDATA', '-joliet', '-rational-rock'];
    await run('/usr/bin/xorriso', ['-as', 'mkisofs', ...look, '-output', path, folder], {
      signal,
      timeoutMs: LIMIT_MS,
    });
    chmodSync(path, 0o600);
  } catch (error) {
    throw asDiskFull(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** UEFI's variables: the guest's own copy, in a format that keeps snapshots. Errors: as qemuImg. */
export async function makeVariables(path: string, template: string, signal: AbortSignal): Promise<void> {
  const fresh = `${path}.new`;
  await qemuImg(['convert', '-q', '-f', 'raw', '-O', 'qcow2', template, fresh], signal);
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}

/** Those that a version before this one made are plain: the same in the other format. The guest does not run. */
export async function modernVariables(path: string, signal: AbortSignal): Promise<void> {
  const file = openSync(path, 'r');
  const magic = Buffer.alloc(QCOW2_MAGIC.length);
  try {
    readSync(file, magic, 0, magic.length, 0);
  } finally {
    closeSync(file);
  }
  if (!magic.equals(QCOW2_MAGIC)) await makeVariables(path, path, signal);
}

/** swtpm runs as the guests' user and writes here alone. */
export function makeTpmFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chownSync(path, GUEST_UID, GUEST_GID);
}
