/**
 * ext4 file systems in files, mounted by loop: the file system itself holds the size, and its space is taken at once, for on a
 * full disk a sparse one loses what its guest was told to be written. Made beside their place and renamed, grown while they
 * are not mounted; a cut at any moment is mended by the next call.
 */
import { mkdir, open, realpath, rename, rm, stat, statfs, truncate } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isBoundElsewhere, isLockedOpen, loopsOver, mountsBelow, reserveSpace, run } from '@skerry/host';
import { formatBytes, SkerryError } from '@skerry/model';
import { translateWriteError } from './content/blob-store.ts';

const TIMEOUT_MS = 60_000;
const LOOP_GONE_MS = 2000;
const LOOP_LOOK_MS = 10;
/** mkfs.ext4 can't make a file system below this with a journal. */
const SMALLEST_BYTES = 2 * 1024 * 1024;

/** As the kernel's table has it: a data folder that is reached by a link would be mounted again and again. */
const realPoint = async (mountPoint: string) =>
  join(await realpath(dirname(mountPoint)), basename(mountPoint));
const isMounted = async (mountPoint: string) =>
  mountsBelow(await realPoint(mountPoint)).includes(await realPoint(mountPoint));

/** Bytes of the file system in an image, and of one of its blocks (docs.kernel.org/filesystems/ext4, super block). */
async function ext4Size(image: string): Promise<{ sizeBytes: number; blockBytes: number } | undefined> {
  const file = await open(image, 'r');
  try {
    const block = Buffer.alloc(1024);
    const { bytesRead } = await file.read(block, 0, 1024, 1024);
    if (bytesRead < 1024 || block.readUInt16LE(0x38) !== 0xef53) return undefined;
    const blockBytes = 1024 << (block.readUInt32LE(0x18) & 15);
    const blocks = block.readUInt32LE(0x4) + (block.readUInt32LE(0x150) % 2 ** 16) * 2 ** 32;
    return { sizeBytes: blocks * blockBytes, blockBytes };
  } finally {
    await file.close();
  }
}

/** Before anything is made. Errors: disk_full with the numbers. */
async function checkRoom(image: string, moreBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(image));
  if (moreBytes > bavail * bsize) {
    throw new SkerryError(
      'disk_full',
      `the volume needs ${formatBytes(moreBytes)} more, the file system of the data folder has ${formatBytes(bavail * bsize)} left`,
    );
  }
}

/** Beside its place and renamed: an image that has its name is whole. */
async function makeExt4(image: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const fresh = `${image}.new`;
  await rm(fresh, { force: true });
  await checkRoom(image, sizeBytes);
  const file = await open(fresh, 'w', 0o600);
  await file.truncate(sizeBytes).finally(() => file.close());
  // No reserved blocks; inode tables and journal are written lazily, so this is quick.
  const lazily = ['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard', '-O', '^resize_inode'];
  await run('mkfs.ext4', ['-q', '-F', '-m', '0', ...lazily, fresh], { signal, timeoutMs: TIMEOUT_MS });
  await reserveSpace(fresh, sizeBytes, signal);
  await rename(fresh, image);
  const folder = await open(dirname(image), 'r');
  await folder.sync().finally(() => folder.close());
}

/** Also one whose growth was cut off between file and file system. Only while it is not mounted. */
async function growExt4(image: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const inside = await ext4Size(image);
  if (!inside || sizeBytes - inside.sizeBytes < inside.blockBytes) return;
  const options = { signal, timeoutMs: TIMEOUT_MS };
  const before = (await stat(image)).size;
  if (before < sizeBytes) {
    await checkRoom(image, sizeBytes - before);
    await truncate(image, sizeBytes);
  }
  await reserveSpace(image, sizeBytes, signal);
  await run('e2fsck', ['-f', '-p', image], { ...options, okCodes: [0, 1] });
  await run('resize2fs', [image], options);
}

/** The words of a program that met a full disk, as our error. */
function translate(error: unknown): unknown {
  return error instanceof SkerryError && /No space left on device/.test(error.message)
    ? new SkerryError('disk_full', 'there is no space for the volume on the file system of the data folder', {
        cause: error,
      })
    : translateWriteError(error);
}

async function makeOrGrow(image: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const exists = (await stat(image).catch(() => undefined)) !== undefined;
  await (exists ? growExt4 : makeExt4)(image, sizeBytes, signal);
}

/**
 * The image as a disk for a virtual machine: made and grown as needed, and mounted nowhere, for two kernels that write one
 * file system destroy it. One that a machine has open is left as it is. Errors: in_use, disk_full, host_missing,
 * host_command_failed.
 */
export async function ensureExt4Disk(
  image: string,
  mountPoint: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const size = Math.max(sizeBytes, SMALLEST_BYTES);
  try {
    await releaseMount(image, mountPoint, signal);
    if (isLockedOpen(image)) return;
    await makeOrGrow(image, size, signal);
    // A guest may have put something else on it than ext4: then the disk grows, and what is on it is the guest's.
    const before = (await stat(image)).size;
    if (before >= size) return;
    await checkRoom(image, size - before);
    await truncate(image, size);
  } catch (error) {
    throw translate(error);
  }
}

/** Unmounts, unless somebody uses it. Errors: in_use. */
async function releaseMount(image: string, mountPoint: string, signal: AbortSignal): Promise<void> {
  const inUse = (cause?: unknown) =>
    new SkerryError('in_use', 'the volume is mounted for a container that runs: stop it first', { cause });
  if (loopsOver(image).some(isBoundElsewhere)) throw inUse();
  if (await isMounted(mountPoint))
    await run('umount', ['-d', mountPoint], { signal, timeoutMs: TIMEOUT_MS }).catch((error) => {
      throw error instanceof SkerryError && error.code === 'host_command_failed' ? inUse(error) : error;
    });
  // The kernel takes the loop device away a moment after its last user.
  const until = performance.now() + LOOP_GONE_MS;
  while (loopsOver(image).length > 0) {
    if (performance.now() > until) throw inUse();
    await pause(LOOP_LOOK_MS, undefined, { signal });
  }
}

/**
 * Makes, grows and mounts, as far as it is needed. One that is mounted grows when it is mounted next. Errors: in_use
 * (a virtual machine has it), disk_full, host_missing, host_command_failed.
 */
export async function ensureExt4(
  image: string,
  mountPoint: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const size = Math.max(sizeBytes, SMALLEST_BYTES);
  try {
    if (await isMounted(mountPoint)) return;
    if (isLockedOpen(image))
      throw new SkerryError('in_use', 'the volume is the disk of a virtual machine that runs: stop it first');
    await makeOrGrow(image, size, signal);
    await mkdir(mountPoint, { recursive: true, mode: 0o711 });
    await run('mount', ['-t', 'ext4', '-o', 'loop,nosuid,nodev,noatime', image, mountPoint], {
      signal,
      timeoutMs: TIMEOUT_MS,
    });
  } catch (error) {
    throw translate(error);
  }
}

/** Unmounts a folder where it is mounted; a busy one is detached and freed when its last user ends. */
export async function unmount(mountPoint: string, signal: AbortSignal): Promise<void> {
  const parent = await realpath(dirname(mountPoint)).catch(() => undefined);
  if (parent === undefined || !(await isMounted(mountPoint))) return;
  const options = { signal, timeoutMs: TIMEOUT_MS };
  await run('umount', ['-d', mountPoint], options).catch(() =>
    run('umount', ['-l', '-d', mountPoint], options),
  );
}
