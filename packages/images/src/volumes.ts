/**
 * Volumes of a node: a sparse ext4 image each, mounted by loop, so that the file system itself holds the size. All in
 * `<dataDir>/volumes/<uid>/`. After a reboot `ensure` mounts again. Every verb is idempotent.
 */
import { mkdir, open, readFile, rename, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type Identity, run } from '@skerry/host';
import { type Id, SkerryError } from '@skerry/model';
import { translateWriteError } from './content/blob-store.ts';

export interface VolumeToEnsure {
  readonly uid: Id<'volume'>;
  readonly sizeBytes: number;
}

export interface Volumes {
  /** Returns the folder to mount. Makes, enlarges or mounts as needed. Errors: disk_full, host_missing, host_command_failed. */
  ensure(volume: VolumeToEnsure, signal: AbortSignal): Promise<string>;
  /** Its data goes. */
  remove(uid: Id<'volume'>, signal: AbortSignal): Promise<void>;
  /** Unmounts all of this data folder; the data stays. */
  unmountAll(signal: AbortSignal): Promise<void>;
}

const TIMEOUT_MS = 60_000;
/** mkfs.ext4 can't make a file system below this with a journal. */
const SMALLEST_BYTES = 2 * 1024 * 1024;

async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8');
  return table
    .split('\n')
    .map((line) => line.split(' ')[1]?.replaceAll('\\040', ' ') ?? '')
    .filter((path) => path.startsWith(`${folder}/`));
}

/**
 * A sparse ext4 file system in a file, mounted at a folder; shared with the disk limit of containers. Errors: disk_full.
 */
export async function ensureExt4(
  image: string,
  mountPoint: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const size = Math.max(sizeBytes, SMALLEST_BYTES);
  const options = { signal, timeoutMs: TIMEOUT_MS };
  const mounted = (await mountsBelow(join(mountPoint, '..'))).includes(mountPoint);
  const existing = (await stat(image).catch(() => undefined))?.size;
  try {
    if (existing === undefined) {
      const fresh = `${image}.new`;
      await rm(fresh, { force: true });
      const file = await open(fresh, 'w', 0o600);
      await file.truncate(size).finally(() => file.close());
      // No reserved blocks; inode tables and journal are written lazily, so this is quick.
      await run(
        'mkfs.ext4',
        [
          '-q',
          '-F',
          '-m',
          '0',
          '-E',
          'lazy_itable_init=1,lazy_journal_init=1,nodiscard',
          '-O',
          '^resize_inode',
          fresh,
        ],
        options,
      );
      await rename(fresh, image);
    } else if (existing < size && !mounted) {
      await truncate(image, size);
      await run('e2fsck', ['-f', '-p', image], { ...options, okCodes: [0, 1] });
      await run('resize2fs', [image], options);
    }
    if (!mounted) {
      await mkdir(mountPoint, { recursive: true, mode: 0o711 });
      await run('mount', ['-t', 'ext4', '-o', 'loop,nosuid,nodev,noatime', image, mountPoint], options);
    }
  } catch (error) {
    throw translateWriteError(error);
  }
}

/** Unmounts a folder where it is mounted; a busy one is detached and freed when its last user ends. */
export async function unmount(mountPoint: string, signal: AbortSignal): Promise<void> {
  if (!(await mountsBelow(join(mountPoint, '..'))).includes(mountPoint)) return;
  const options = { signal, timeoutMs: TIMEOUT_MS };
  await run('umount', ['-d', mountPoint], options).catch(() =>
    run('umount', ['-l', '-d', mountPoint], options),
  );
}

export function createVolumes(identity: Identity): Volumes {
  const root = join(identity.dataDir, 'volumes');
  const folderOf = (uid: string) => {
    if (!/^[0-9a-z]{26}$/.test(uid)) throw new SkerryError('internal', `"${uid}" is no id of a volume`);
    return join(root, uid);
  };
  // One at a time for each volume: two instances may ask for it together.
  const running = new Map<string, Promise<unknown>>();
  const alone = <T>(uid: string, task: () => Promise<T>): Promise<T> => {
    const next = (running.get(uid) ?? Promise.resolve()).then(task, task);
    running.set(uid, next);
    const forget = () => void (running.get(uid) === next && running.delete(uid));
    next.then(forget, forget);
    return next;
  };
  return {
    ensure: ({ uid, sizeBytes }, signal) =>
      alone(uid, async () => {
        const folder = folderOf(uid);
        const mountPoint = join(folder, 'mount');
        await mkdir(folder, { recursive: true, mode: 0o711 });
        await ensureExt4(join(folder, 'disk.img'), mountPoint, sizeBytes, signal);
        const data = join(mountPoint, 'data'); // beside lost+found, which is no business of the guest
        await mkdir(data, { recursive: true, mode: 0o755 });
        return data;
      }),
    remove: (uid, signal) =>
      alone(uid, async () => {
        const folder = folderOf(uid);
        await unmount(join(folder, 'mount'), signal);
        await rm(folder, { recursive: true, force: true });
      }),
    async unmountAll(signal) {
      for (const path of await mountsBelow(root)) await unmount(path, signal);
    },
  };
}
