/**
 * The disks of a unikernel, in its data folder: over the disk image that it starts from, a file of its own that takes what
 * it writes, fresh each time; for each block device that a Solo5 manifest asks for one that is empty at first and keeps what is
 * on it when the guest is made anew. The image is never written.
 */
import { chmodSync, chownSync, closeSync, openSync, readSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { GUEST_GID, GUEST_UID, run } from '@skerry/host';
import { formatBytes, SkerryError } from '@skerry/model';
import type { GuestSpec } from '../../port.ts';
import type { PlannedDisk } from '../command-line.ts';
import type { KernelImage } from '../kernel-image.ts';
import { osvDiskWords } from './osv-disk.ts';

const QEMU_IMG = '/usr/bin/qemu-img';
const LIMIT_MS = 60_000;

const blocksOf = ({ solo5 }: KernelImage) => (solo5?.devices ?? []).filter(({ type }) => type === 'block');

/** Where they are. Pure. */
export function guestDisks(folder: string, image: KernelImage): PlannedDisk[] {
  const own = image.disk
    ? [{ path: join(folder, 'disk.qcow2'), format: 'qcow2', base: image.disk, boots: true } as const]
    : [];
  const blocks = blocksOf(image).map(
    ({ name }) => ({ path: join(folder, `block-${name}.raw`), format: 'raw', boots: false }) as const,
  );
  return [...own, ...blocks];
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** May be repeated: a block device grows then. Where it would have to shrink nothing is changed. Errors: unsupported, image_invalid, disk_full, host_missing, host_command_failed, cancelled. */
export async function makeGuestDisks(
  folder: string,
  image: KernelImage,
  spec: GuestSpec,
  signal: AbortSignal,
): Promise<void> {
  const blocks = blocksOf(image);
  if (blocks.length > 0 && spec.diskBytes === undefined)
    throw new SkerryError(
      'unsupported',
      `${spec.name} asks for the block devices ${blocks.map(({ name }) => name).join(', ')}: say how large they are with resources.disk`,
    );
  const disks = guestDisks(folder, image);
  const larger = disks.find(({ path, base }) => !base && sizeOf(path) > (spec.diskBytes ?? 0));
  if (larger)
    throw new SkerryError(
      'unsupported',
      `${spec.name} has block devices of ${formatBytes(sizeOf(larger.path))}, and resources.disk asks for less: they keep their data and do not shrink; put it back, or delete the workload`,
    );
  for (const { path, format, base } of disks) {
    if (base) {
      // -u: nobody opens the image here; its header was read when it was imported
      const size = base.format === 'raw' ? statSync(base.path).size : qcow2Size(base.path);
      const args = [
        'create',
        '-q',
        '-f',
        format,
        '-u',
        '-b',
        base.path,
        '-F',
        base.format,
        path,
        String(size),
      ];
      await run(QEMU_IMG, args, { signal, timeoutMs: LIMIT_MS });
      if (image.family === 'osv') await osvDiskWords(path, base.format, image, spec, signal);
    } else {
      closeSync(openSync(path, 'a'));
      truncateSync(path, spec.diskBytes);
    }
    chmodSync(path, 0o600);
    if (image.tender) chownSync(path, GUEST_UID, GUEST_GID); // it opens what it is handed once more
  }
}

/** Its header is read here, for nobody of ours opens a stranger's disk with QEMU's tools and our rights: size at byte 24, big-endian. */
function qcow2Size(path: string): number {
  const head = Buffer.alloc(32);
  const file = openSync(path, 'r');
  try {
    readSync(file, head, 0, head.length, 0);
  } finally {
    closeSync(file);
  }
  const size = Number(head.readBigUInt64BE(24));
  if (head.readUInt32BE(0) !== 0x514649fb || !Number.isSafeInteger(size))
    throw new SkerryError('image_invalid', 'the image is no qcow2 disk: import it again');
  return size;
}
