/**
 * A writable layer of limited size: a file with ext4 in it, its space taken at once, mounted beside the guest, whose `upper` and `work`
 * lie over the image's snapshot. The file system is the limit, so it holds for everything that the guest does.
 */
import { chownSync, mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { makeLayerExt4, mountLoop, mountsBelow } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { Mount } from './api.ts';
import type { GuestFiles } from './guest-files.ts';
import { layerFolders } from './oci-user.ts';

/** Below this, ext4's own tables leave no room. */
const SMALLEST_BYTES = 2 * 1024 * 1024;

/** Makes and mounts it, and gives the mount of the root file system. `view` are the read-only mounts of the image. */
export async function limitedLayer(
  files: GuestFiles,
  sizeBytes: number,
  view: readonly Mount[],
  owner: number,
  signal: AbortSignal,
): Promise<Mount[]> {
  if (sizeBytes < SMALLEST_BYTES) {
    throw new SkerryError('unsupported', `a disk of ${sizeBytes} bytes is too small: ask for 2MiB or more`);
  }
  if (mountsBelow(files.layer).length === 0) {
    await makeLayerExt4(files.layerImage, sizeBytes, signal);
    mkdirSync(files.layer, { recursive: true, mode: 0o700 });
    await mountLoop(files.layerImage, files.layer, signal);
  }
  const upper = join(files.layer, 'upper');
  const work = join(files.layer, 'work');
  for (const folder of [upper, work]) mkdirSync(folder, { recursive: true, mode: 0o755 });
  chownSync(upper, owner, owner);
  const lower = layerFolders(view).join(':');
  return [
    {
      type: 'overlay',
      source: 'overlay',
      options: [`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${lower}`],
    },
  ];
}

/** Bytes of its disk that the guest has used; undefined without a limit. */
export function layerBytes(files: GuestFiles): number | undefined {
  if (mountsBelow(files.layer).length === 0) return undefined;
  const { blocks, bfree, bsize } = statfsSync(files.layer);
  return (blocks - bfree) * bsize;
}
