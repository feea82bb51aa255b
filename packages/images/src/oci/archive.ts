/**
 * Image archives: `docker save` (with and without an OCI layout inside) and OCI archives. Every file of the archive is staged under its own hash first; then the documents are read, and what they name is kept, the rest
 * thrown away. A file that lies about its digest, and a name that leads out, is refused.
 */
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import { compressionOfFile, unpackedBytes } from '../content/compression.ts';
import { readTar } from '../content/read-tar.ts';
import { METADATA_LIMIT_BYTES } from './documents.ts';
import { insideLink, insideName } from './safe-path.ts';
import { countUnpacked } from './unpacked.ts';

export const ENTRY_LIMIT = 10_000;
/** docker save names a layer that two images share by a link. */
const LINK_HOPS = 8;

/** The files of an archive, by their name in it. */
export interface StagedArchive {
  readonly files: ReadonlyMap<string, StagedBlob>;
  text(name: string): Promise<string | undefined>;
  /** One more file, made of what the archive holds: kept and discarded with the others. */
  add(source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<StagedBlob>;
  discard(): Promise<void>;
}

/** Errors: image_digest_mismatch. */
export function stagedArchive(
  files: Map<string, StagedBlob>,
  links: ReadonlyMap<string, string>,
  blobs: BlobStore,
): StagedArchive {
  for (const [name, target] of links) {
    let end = target;
    for (let hops = 0; hops < LINK_HOPS && !files.has(end); hops++) end = links.get(end) ?? end;
    const file = files.get(end);
    if (file && !files.has(name)) files.set(name, file);
  }
  for (const [name, file] of files) {
    const promised = /(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (promised && file.digest !== `sha256:${promised}`) {
      throw new SkerryError(
        'image_digest_mismatch',
        `${name} has the digest ${file.digest.slice(0, 19)}, not the one of its name`,
      );
    }
  }
  return {
    files,
    async text(name) {
      const file = files.get(name);
      if (!file) return undefined;
      if (file.sizeBytes > METADATA_LIMIT_BYTES)
        throw new SkerryError(
          'image_invalid',
          `${name} has ${file.sizeBytes} bytes, too many for a document`,
        );
      return readFile(file.path, 'utf8');
    },
    async add(source, signal) {
      const staged = await blobs.stage(source, signal);
      files.set(`added ${files.size}`, staged);
      return staged;
    },
    async discard() {
      for (const file of new Set(files.values())) await blobs.discard(file);
    },
  };
}

/** Stages a tar (plain, gzip, xz or zstd). Errors: image_invalid naming the entry, image_digest_mismatch, disk_full, cancelled. */
export async function stageTar(
  path: string,
  blobs: BlobStore,
  signal: AbortSignal,
  progress: (done: number) => void,
): Promise<StagedArchive> {
  const files = new Map<string, StagedBlob>();
  const links = new Map<string, string>();
  const tar = readTar();
  const consume = async () => {
    let entries = 0;
    for await (const entry of tar) {
      const { header } = entry;
      if (++entries > ENTRY_LIMIT)
        throw new SkerryError('image_invalid', `the archive has more than ${ENTRY_LIMIT} entries`);
      const name = insideName(header.name);
      if (name === undefined)
        throw new SkerryError(
          'image_invalid',
          `the archive is refused: the name "${header.name}" leads out of it`,
        );
      if (header.type === 'symlink' || header.type === 'link') {
        const target = header.linkname ?? '';
        const inside = header.type === 'link' ? insideName(target) : insideLink(name, target);
        if (inside === undefined)
          throw new SkerryError(
            'image_invalid',
            `the archive is refused: "${header.name}" links to "${target}", out of it`,
          );
        links.set(name, inside);
        entry.resume();
      } else if (header.type === 'file' || header.type === 'contiguous-file') {
        const before = files.get(name); // of two entries of one name the last counts, as with tar
        if (before) await blobs.discard(before);
        files.set(name, await blobs.stage(entry as AsyncIterable<Uint8Array>, signal));
      } else if (header.type === 'directory') entry.resume();
      else
        throw new SkerryError(
          'image_invalid',
          `the archive is refused: "${header.name}" is a ${header.type}`,
        );
    }
  };
  const source = unpackedBytes(path, await compressionOfFile(path), 'the archive', signal, progress);
  const feeding = pipeline(source, countUnpacked('the archive'), tar);
  const consuming = consume();
  try {
    await Promise.all([feeding, consuming]);
    return stagedArchive(files, links, blobs);
  } catch (error) {
    tar.destroy();
    await Promise.allSettled([feeding, consuming]); // the file that was being written, too
    for (const staged of files.values()) await blobs.discard(staged);
    if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `the archive can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
