/**
 * Looks through a layer before it is stored: its diff id (the digest of the unpacked tar) must be the promised one, and no
 * entry may have a name that climbs out. Symbolic links inside a root file system may point anywhere: they are resolved
 * inside it; hard links and names are what could reach the host.
 */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import type { Header } from 'tar-stream';
import { type Compression, unpackedBytes } from '../content/compression.ts';
import { readTar } from '../content/read-tar.ts';
import { insideName } from './safe-path.ts';
import { countUnpacked } from './unpacked.ts';

/** A root file system with more files than this would use up the inodes of a small disk. */
const ENTRY_LIMIT = 2_000_000;

/** Layer names may begin with `/` or `./`: they are below the root. */
const below = (name: string) => insideName(name.replace(/^\/+/, ''));

/** Why an entry is refused; undefined where it is not. */
function judge({ name, type, linkname }: Header): string | undefined {
  if (below(name) === undefined || name.split('/').includes('..'))
    return `the name "${name}" leads out of the root`;
  // A whiteout names what it removes: what stands after its prefix (image-spec, layer.md).
  if (/(?:^|\/)\.wh\.{1,3}\/?$/.test(name)) return `"${name}" removes its own folder`;
  if (type === 'link' && (!linkname || below(linkname) === undefined))
    return `"${name}" is a hard link to "${linkname ?? ''}", out of the root`;
  return undefined;
}

/** Of a layer's files, what tells of a unikernel that is packed in it. */
export interface LayerSigns {
  /** Small files by their path, where they are asked for. */
  readonly texts: Map<string, Buffer>;
  readonly wantedTexts: ReadonlySet<string>;
  /** Paths of files whose name matches. */
  readonly named: string[];
  readonly wantedName: RegExp;
}

const TEXT_LIMIT_BYTES = 64 * 1024;
const NAMED_LIMIT = 16;

/** Returns the diff id. Errors: image_invalid naming layer and entry, host_missing (zstd), cancelled. */
export async function examineLayer(
  path: string,
  compression: Compression,
  label: string,
  signal: AbortSignal,
  signs?: LayerSigns,
): Promise<string> {
  if (compression === 'xz')
    throw new SkerryError(
      'image_invalid',
      `${label} is compressed with xz, which no layer of an image may be`,
    );
  const hash = createHash('sha256');
  const tap = countUnpacked(label, (chunk) => hash.update(chunk));
  const tar = readTar();
  let entries = 0;
  tar.on('entry', (header, stream, next) => {
    stream.on('error', () => undefined); // the pipeline has it
    const bad = ++entries > ENTRY_LIMIT ? `it has more than ${ENTRY_LIMIT} entries` : judge(header);
    if (bad) return next(new SkerryError('image_invalid', `${label} is refused: ${bad}`));
    stream.on('end', () => next());
    const noted = signs && header.type === 'file' ? note(signs, header) : undefined;
    if (noted) {
      stream.on('data', noted.piece);
      stream.on('end', noted.end);
    }
    stream.resume();
  });
  try {
    await pipeline(unpackedBytes(path, compression, label, signal), tap, tar);
  } catch (error) {
    if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `${label} can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return `sha256:${hash.digest('hex')}`;
}

/** Notes what an entry tells; returns where its content goes, if it is wanted. */
function note(
  signs: LayerSigns,
  { name, size = 0 }: Header,
): { readonly piece: (bytes: unknown) => void; readonly end: () => void } | undefined {
  const path = below(name)!;
  if (signs.wantedName.test(path) && signs.named.length < NAMED_LIMIT) signs.named.push(path);
  if (!signs.wantedTexts.has(path) || size > TEXT_LIMIT_BYTES) return undefined;
  const pieces: Buffer[] = [];
  return {
    piece: (bytes) => void pieces.push(bytes as Buffer),
    end: () => void signs.texts.set(path, Buffer.concat(pieces)),
  };
}
