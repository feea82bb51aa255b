/**
 * Looks through a layer before it is stored: its diff id (the digest of the unpacked tar) must be the promised one, and no
 * entry may have a name that climbs out. Symbolic links inside a root file system may point anywhere: they are resolved
 * inside it; hard links and names are what could reach the host.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { SkerryError } from '@skerry/model';
import { extract } from 'tar-stream';
import { insideName } from './safe-path.ts';

const GZIP = [0x1f, 0x8b];
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];

export type Compression = 'none' | 'gzip' | 'zstd';

export function compressionOf(head: Uint8Array): Compression {
  if (GZIP.every((byte, i) => head[i] === byte)) return 'gzip';
  if (ZSTD.every((byte, i) => head[i] === byte)) return 'zstd';
  return 'none';
}

/** Layer names may begin with `/` or `./`: they are below the root. */
const below = (name: string) => insideName(name.replace(/^\/+/, ''));

/** Returns the diff id. Errors: image_invalid naming layer and entry, unsupported for zstd. */
export async function examineLayer(
  path: string,
  compression: Compression,
  label: string,
  signal: AbortSignal,
): Promise<string> {
  if (compression === 'zstd') {
    throw new SkerryError(
      'unsupported',
      `${label} is compressed with zstd, which this version does not read: export the image with gzip layers`,
    );
  }
  const hash = createHash('sha256');
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const tar = extract();
  tar.on('entry', (header, stream, next) => {
    stream.on('error', () => undefined); // the pipeline has it
    const bad =
      below(header.name) === undefined
        ? `the name "${header.name}" leads out of the root`
        : header.type === 'link' && header.linkname && below(header.linkname) === undefined
          ? `"${header.name}" is a hard link to "${header.linkname}", out of the root`
          : undefined;
    if (bad) return next(new SkerryError('image_invalid', `${label} is refused: ${bad}`));
    stream.on('end', () => next());
    stream.resume();
  });
  const source = createReadStream(path, { highWaterMark: 1024 * 1024, signal });
  try {
    if (compression === 'gzip') await pipeline(source, createGunzip(), tap, tar);
    else await pipeline(source, tap, tar);
  } catch (error) {
    if (error instanceof SkerryError) throw error;
    throw new SkerryError('image_invalid', `${label} can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return `sha256:${hash.digest('hex')}`;
}
