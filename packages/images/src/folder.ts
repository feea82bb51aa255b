/**
 * A folder that somebody wants to import: whether it is an OCI layout or a root file system, and either as one stream, for who
 * has the folder and not the store. What the stream holds is judged again by who takes it.
 */
import { lstat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { programOutput } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export type FolderKind = 'layout' | 'rootfs' | 'unknown';

const PACK_TIMEOUT_MS = 60 * 60 * 1000;
/** Sockets are passed over by tar itself; other file systems that are mounted below (proc, sys) are no part of the image. */
const PACK = ['--create', '--file=-', '--sort=name', '--numeric-owner', '--one-file-system'];
/** The same folder gives the same bytes: without tar's own process id, and without the times of reading (tar, "pax options"). */
const SAME = ['--format=posix', '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime'];
const KEEP = ['--xattrs', '--xattrs-include=user.*', '--xattrs-include=security.capability'];
/** Of a layout nothing else is taken, so that a wrong folder is not copied. */
const LAYOUT = ['oci-layout', 'index.json', 'blobs'];

const exists = (path: string) =>
  lstat(path).then(
    () => true,
    () => false,
  );

export async function folderKind(path: string): Promise<FolderKind> {
  if ((await exists(join(path, 'index.json'))) || (await exists(join(path, 'blobs')))) return 'layout';
  const roots = await Promise.all(['etc', 'usr', 'bin', 'sbin'].map((name) => exists(join(path, name))));
  return roots.filter(Boolean).length >= 2 ? 'rootfs' : 'unknown';
}

/** A root file system as a tar with zstd. Errors: host_missing, host_command_failed (what can not be read), cancelled. */
export const packRootfs = (path: string, signal: AbortSignal): AsyncGenerator<Buffer> =>
  programOutput('tar', [...PACK, ...SAME, ...KEEP, '--zstd', `--directory=${resolve(path)}`, '.'], {
    ...{ signal, timeoutMs: PACK_TIMEOUT_MS },
  });

/** Either kind as the archive that an import takes. Errors: as `packRootfs`; image_invalid where it is neither. */
export async function packFolder(path: string, signal: AbortSignal): Promise<AsyncGenerator<Buffer>> {
  const kind = await folderKind(path);
  if (kind === 'rootfs') return packRootfs(path, signal);
  if (kind === 'unknown')
    throw new SkerryError(
      'image_invalid',
      `the folder ${path} is neither an OCI layout (index.json, blobs) nor a root file system (two of etc, usr, bin, sbin)`,
    );
  const names: string[] = [];
  for (const name of LAYOUT) if (await exists(join(path, name))) names.push(name);
  return programOutput('tar', [...PACK, `--directory=${resolve(path)}`, ...names], {
    ...{ signal, timeoutMs: PACK_TIMEOUT_MS },
  });
}
