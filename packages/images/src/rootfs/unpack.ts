/**
 * Unpacks a root file system for a guest: owners, modes, links, file capabilities and user attributes as the archive has them,
 * device nodes left out. For a mapped user namespace it is unpacked inside of one, so that owners and capabilities are those
 * of the namespace and the archive's root is nobody's root on the host.
 */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HOST_ENV, programOutput, run } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { translateWriteError } from '../content/blob-store.ts';
import type { Compression } from '../content/compression.ts';
import type { RootfsFacts } from './rootfs-facts.ts';

const TIMEOUT_MS = 30 * 60 * 1000;
/** As many ids as a user namespace of Skerry's has. */
export const MAPPED_IDS = 65_536;

export interface UnpackOptions {
  readonly signal: AbortSignal;
  /** First host id of a user namespace: owner 0 of the archive is this on the host, up to 65535 on. Absent: owners as they are. */
  readonly shiftUidBy?: number;
}

const DECOMPRESS: Readonly<Record<Compression, readonly string[]>> = {
  none: [],
  gzip: ['--gzip'],
  xz: ['--use-compress-program=xz --memlimit-decompress=256MiB'],
  zstd: ['--use-compress-program=zstd --memory=128MiB'],
};

/** Everything said: nothing may depend on what tar guesses or on its user. */
const EXTRACT = [
  ...['--extract', '--file=-', '--directory=.', '--numeric-owner', '--same-owner', '--same-permissions'],
  ...[
    '--delay-directory-restore',
    '--xattrs',
    '--xattrs-include=user.*',
    '--xattrs-include=security.capability',
  ],
  ...['--warning=no-timestamp', '--warning=no-unknown-keyword', '--anchored', '--no-wildcards'],
];

/** A name as the archive has it, `./dev/null`, is what tar compares with. */
const leftOut = (devices: readonly string[]) => devices.map((name) => `--exclude=${name}`);

/** Written out to the disk: what has its name after a power cut is whole. */
async function syncAll(folder: string, signal: AbortSignal): Promise<void> {
  await run('sync', ['--file-system', folder], { signal, timeoutMs: TIMEOUT_MS });
}

async function hasContent(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > 0;
}

/**
 * Makes `intoFolder` (its parent exists) and fills it; it gets its name when it is whole, so one that is there and not
 * empty is done, whatever was cut off before. As root. Errors: disk_full, image_invalid, host_missing, host_timeout, cancelled.
 */
export async function unpackRootfs(
  blobPath: string,
  facts: Pick<RootfsFacts, 'compression' | 'devices'>,
  intoFolder: string,
  { signal, shiftUidBy }: UnpackOptions,
): Promise<void> {
  if (await hasContent(intoFolder)) return;
  const half = `${intoFolder}.unpacking`;
  await rm(half, { recursive: true, force: true });
  try {
    await mkdir(half, { mode: 0o755 });
    const tar = ['tar', ...EXTRACT, ...DECOMPRESS[facts.compression], ...leftOut(facts.devices)];
    const [file, ...args] = shiftUidBy === undefined ? tar : [...(await mapped(half, shiftUidBy)), ...tar];
    const output = programOutput(file!, args, {
      signal,
      timeoutMs: TIMEOUT_MS,
      inputPath: blobPath,
      cwd: half,
    });
    for await (const _ of output); // tar says nothing there
    await syncAll(half, signal);
    await rename(half, intoFolder);
    const parent = await open(dirname(intoFolder), 'r');
    await parent.sync().finally(() => parent.close());
  } catch (error) {
    await rm(half, { recursive: true, force: true });
    throw translate(error);
  }
}

/** The folder is handed to the namespace's root, which enters it by having been started there. */
async function mapped(folder: string, first: number): Promise<string[]> {
  const file = await open(folder, 'r');
  await file.chown(first, first).finally(() => file.close());
  const maps = ['u', 'g'].flatMap((kind) => ['-m', `${kind}:0:${first}:${MAPPED_IDS}`]);
  // Root maps what it likes; where lxc-usernsexec finds newuidmap, it asks that, which allows only what /etc/subuid has.
  const alone = ['env', 'PATH=/nonexistent', '/usr/bin/lxc-usernsexec', ...maps, '--'];
  return [...alone, '/usr/bin/env', `PATH=${HOST_ENV.PATH}`];
}

function translate(error: unknown): unknown {
  if (!(error instanceof SkerryError) || error.code !== 'host_command_failed')
    return translateWriteError(error);
  if (
    /No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/.test(
      `${error.message} ${error.details?.stderr}`,
    )
  )
    return new SkerryError(
      'disk_full',
      'there is no room for the root file system on the disk of the data folder',
      {
        cause: error,
      },
    );
  return new SkerryError('image_invalid', `the root file system can not be unpacked: ${error.message}`, {
    cause: error,
  });
}
