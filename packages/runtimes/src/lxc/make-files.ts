/** What a system container has on the disk before its first start: the layer with its names and addresses, its writable layer. */
import { chownSync, existsSync, mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeLayerExt4 } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import type { SystemFolder } from './guest-folder.ts';

/** Below this, ext4's own tables leave no room. */
const SMALLEST_BYTES = 2 * 1024 * 1024;

/** Lies over the image, so that no link of the image is followed to write them. `owner`: the host's id of the guest's root. */
export function makeSeed(folder: SystemFolder, spec: GuestSpec, owner: number): void {
  const { network } = spec;
  const own = network ? `${network.address} ${spec.name}\n` : '';
  const files = {
    hostname: `${spec.name}\n`,
    hosts: `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${own}`,
    'resolv.conf': network ? `nameserver ${network.dns}\noptions ndots:0\n` : '',
  };
  const scratch = spec.security.readOnlyRoot ? ['run', 'tmp'] : [];
  mkdirSync(folder.seed, { recursive: true, mode: 0o755 });
  // The last layer gives the root's own owner and mode.
  for (const name of ['', 'dev', 'etc', 'proc', 'sys', ...scratch]) {
    mkdirSync(join(folder.seed, name), { recursive: true, mode: 0o755 });
    chownSync(join(folder.seed, name), owner, owner);
  }
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder.seed, 'etc', name);
    writeFileSync(path, text, { mode: 0o644 });
    chownSync(path, owner, owner);
  }
}

/** Errors: unsupported (too small), disk_full, host_command_failed. */
export async function makeLayer(folder: SystemFolder, spec: GuestSpec, signal: AbortSignal): Promise<void> {
  const { diskBytes } = spec;
  if (diskBytes === undefined) return void mkdirSync(folder.layer, { recursive: true, mode: 0o700 });
  if (diskBytes < SMALLEST_BYTES)
    throw new SkerryError('unsupported', `a disk of ${diskBytes} bytes is too small: ask for 2MiB or more`);
  await makeLayerExt4(folder.layerImage, diskBytes, signal);
}

/** Bytes of its disk that the guest has used, as its init sees it (the host has it not mounted); undefined without a limit. */
export function layerBytes(folder: SystemFolder, initPid: number): number | undefined {
  if (!existsSync(folder.layerImage)) return undefined;
  const { blocks, bfree, bsize } = statfsSync(`/proc/${initPid}/root`);
  return (blocks - bfree) * bsize;
}
