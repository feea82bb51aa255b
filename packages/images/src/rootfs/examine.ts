/**
 * Goes through the archive of a root file system before it is stored: no entry may reach out of the root or through a link
 * that an earlier entry made, and nothing may be of a kind that the unpacker does not know. Symbolic links themselves may
 * point anywhere: they are resolved inside. Device nodes are remembered, to be left out.
 */
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import type { Header } from 'tar-stream';
import { type Compression, unpackedBytes } from '../content/compression.ts';
import { readTar } from '../content/read-tar.ts';
import { insideName } from '../oci/safe-path.ts';
import { countUnpacked } from '../oci/unpacked.ts';
import { RootTree } from './root-tree.ts';
import { hasShell, initOf, keptBytes, osOf, programArch, type RootfsFacts } from './rootfs-facts.ts';

/** A root file system with more files than this would use up the inodes of a small disk. */
const ENTRY_LIMIT = 2_000_000;
/** debootstrap makes about twenty. */
const DEVICE_LIMIT = 512;

export interface ExaminedRootfs {
  readonly facts: RootfsFacts;
  readonly arch?: 'amd64' | 'arm64';
}

const below = (name: string) => insideName(name.replace(/^\/+/, ''));

class Examination {
  readonly tree = new RootTree();
  readonly devices: string[] = [];
  entries = 0;

  /** The name inside the root. Throws where the entry is refused. */
  admit({ name, type, linkname }: Header): string {
    const refuse = (why: string): never => {
      throw new SkerryError('image_invalid', `the root file system is refused: ${why}`);
    };
    if (++this.entries > ENTRY_LIMIT) refuse(`it has more than ${ENTRY_LIMIT} entries`);
    const inside = below(name);
    if (inside === undefined || name.split('/').includes('..'))
      return refuse(`the name "${name}" leads out of the root`);
    const through = this.tree.linkAbove(inside);
    if (through !== undefined) refuse(`"${name}" leads through the link "${through}"`);
    switch (type) {
      case 'file':
      case 'contiguous-file':
      case 'directory':
      case 'fifo':
        break;
      case 'symlink':
        this.tree.addLink(inside, linkname ?? '');
        break;
      case 'link':
        this.#admitLink(name, linkname ?? '', refuse);
        break;
      case 'character-device':
      case 'block-device':
        // The unpacker is told their names, each as one argument that has to mean the same to it.
        if (!/^[\x20-\x7e]+$/.test(name) || /[\\*?[\]]/.test(name))
          refuse(`the device "${name}" has a name that no device has`);
        if (this.devices.push(name) > DEVICE_LIMIT) refuse(`it has more than ${DEVICE_LIMIT} devices`);
        break;
      default:
        refuse(`"${name}" is of a kind that is not known (${type})`);
    }
    return inside;
  }

  #admitLink(name: string, target: string, refuse: (why: string) => never): void {
    const stays = target.split('/').includes('..') ? undefined : below(target);
    const inside = stays || refuse(`"${name}" is a hard link to "${target}", out of the root`);
    const through = this.tree.linkAbove(inside);
    if (through !== undefined) refuse(`"${name}" is a hard link through the link "${through}"`);
  }
}

/** Errors: image_invalid naming the entry, host_missing, cancelled. */
export async function examineRootfs(
  path: string,
  compression: Compression,
  signal: AbortSignal,
  progress: (done: number) => void,
): Promise<ExaminedRootfs> {
  const seen = new Examination();
  const hardLinks: (readonly [string, string])[] = [];
  let contentBytes = 0;
  const tar = readTar();
  tar.on('entry', (header, stream, next) => {
    stream.on('error', () => undefined); // the pipeline has it
    let inside: string;
    try {
      inside = seen.admit(header);
    } catch (error) {
      return next(error as Error);
    }
    contentBytes += header.size ?? 0;
    const kept = keptBytes(inside);
    if (header.type === 'link' && kept > 0) hardLinks.push([inside, below(header.linkname!)!]);
    let head = Buffer.alloc(0);
    if (header.type === 'file' && kept > 0)
      stream.on('data', (piece) => {
        if (head.length < kept)
          head = Buffer.concat([head, (piece as Buffer).subarray(0, kept - head.length)]);
      });
    stream.on('end', () => {
      if (header.type === 'file' && kept > 0) seen.tree.addFile(inside, head);
      next();
    });
    stream.resume();
  });
  try {
    const bytes = unpackedBytes(path, compression, 'the archive', signal, progress);
    await pipeline(bytes, countUnpacked('the archive'), tar);
  } catch (error) {
    if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `the archive can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const { tree, devices, entries } = seen;
  // Busybox has all its names as hard links of one file; which of them comes first, nobody says.
  for (const [name, target] of hardLinks) tree.addLink(name, `/${target}`);
  const init = initOf(tree);
  const os = osOf(tree);
  if (!init && !os && !hasShell(tree))
    throw new SkerryError(
      'image_invalid',
      'the archive is neither a container image nor a root file system: it has no init, no shell and no os-release',
    );
  const arch = programArch(tree);
  const facts = { compression, entries, unpackedBytes: contentBytes, devices };
  return { facts: { ...facts, ...(init && { init }), ...(os && { os }) }, ...(arch && { arch }) };
}
