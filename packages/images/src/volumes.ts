/**
 * Volumes of a node: an ext4 image each, its space taken at once, mounted by loop, so that the file system itself holds the
 * size. All in `<dataDir>/volumes/<uid>/`. After a reboot `ensure` mounts again. Every verb is idempotent.
 */
import { mkdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Identity, mountsBelow } from '@skerry/host';
import { type Id, SkerryError } from '@skerry/model';
import { ensureExt4, ensureExt4Disk, unmount } from './ext4.ts';

export interface VolumeToEnsure {
  readonly uid: Id<'volume'>;
  readonly sizeBytes: number;
}

export interface Volumes {
  /**
   * Returns the folder to mount. Makes, enlarges or mounts as needed. Errors: in_use (it is the disk of a running virtual
   * machine), disk_full, host_missing, host_command_failed.
   */
  ensure(volume: VolumeToEnsure, signal: AbortSignal): Promise<string>;
  /**
   * Returns the path of the raw disk image, formatted as ext4 and mounted nowhere, for a virtual machine. One that a running
   * machine has open is left as it is. Errors: in_use (it is mounted for a running container), disk_full, host_missing,
   * host_command_failed.
   */
  ensureDisk(volume: VolumeToEnsure, signal: AbortSignal): Promise<string>;
  /** Its data goes. */
  remove(uid: Id<'volume'>, signal: AbortSignal): Promise<void>;
  /** Unmounts all of this data folder; the data stays. */
  unmountAll(signal: AbortSignal): Promise<void>;
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
    ensureDisk: ({ uid, sizeBytes }, signal) =>
      alone(uid, async () => {
        const folder = folderOf(uid);
        const image = join(folder, 'disk.img');
        await mkdir(folder, { recursive: true, mode: 0o711 });
        await ensureExt4Disk(image, join(folder, 'mount'), sizeBytes, signal);
        return image;
      }),
    remove: (uid, signal) =>
      alone(uid, async () => {
        const folder = folderOf(uid);
        await unmount(join(folder, 'mount'), signal);
        await rm(folder, { recursive: true, force: true });
      }),
    async unmountAll(signal) {
      const real = await realpath(root).catch(() => undefined);
      if (real !== undefined) for (const path of mountsBelow(real)) await unmount(path, signal);
    },
  };
}
