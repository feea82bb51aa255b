/**
 * A layer as containerd is to get it: the blob as it is, or, for a mapped user namespace, rewritten with every owner moved
 * to where the namespace begins. The rewriting only changes numbers in tar headers; applying stays containerd's work.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { compressionOfFile, readTar, unpackedBytes } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import { pack } from 'tar-stream';
import type { LayerFact } from './image-facts.ts';

/** First host id of a user namespace; the ids from 0 to 65535 inside are those from here on outside. */
export type IdShift = number;
export const USER_NAMESPACE = { firstHostId: 100_000, size: 65_536 } as const;

export interface LayerSource {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
  /** Once only. */
  read(): AsyncIterable<Uint8Array>;
}

const PIECE_BYTES = 1024 * 1024;

/** Errors: unsupported (a compression that can't be rewritten, ids that don't fit). */
export async function layerSource(
  path: string,
  layer: LayerFact,
  shift: IdShift | undefined,
  signal: AbortSignal,
): Promise<LayerSource> {
  if (shift === undefined) {
    return { ...layer, read: () => createReadStream(path, { highWaterMark: PIECE_BYTES }) };
  }
  if (!/\.tar(\+gzip|\+zstd)?$/.test(layer.mediaType)) {
    throw new SkerryError(
      'unsupported',
      `a layer of the type ${layer.mediaType} can not be given to a mapped user`,
    );
  }
  const folder = await mkdtemp(join(tmpdir(), 'skerry-layer-'));
  const shifted = join(folder, 'layer.tar');
  try {
    const { digest, sizeBytes } = await writeShifted(path, shifted, shift, signal);
    return {
      digest,
      sizeBytes,
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      async *read() {
        try {
          yield* createReadStream(shifted, { highWaterMark: PIECE_BYTES });
        } finally {
          await rm(folder, { recursive: true, force: true });
        }
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function writeShifted(from: string, to: string, shift: IdShift, signal: AbortSignal) {
  const input = readTar();
  const output = pack();
  input.on('entry', (header, body, next) => {
    const { uid = 0, gid = 0 } = header;
    if (Math.max(uid, gid) >= USER_NAMESPACE.size) {
      next(
        new SkerryError(
          'unsupported',
          `${header.name} belongs to ${uid}:${gid}, which has no place in a mapped user namespace`,
        ),
      );
      return;
    }
    // Numbers only: names of users would be looked up in the root file system and win over them. File capabilities
    // name no user namespace and would be refused by the kernel.
    const { uname: _user, gname: _group, ...rest } = header;
    const pax = Object.fromEntries(
      Object.entries(rest.pax ?? {}).filter(
        ([key]) => !/^(uid|gid|uname|gname|SCHILY\.xattr\.security\.capability)$/.test(key),
      ),
    );
    const entry = output.entry({ ...rest, pax, uid: uid + shift, gid: gid + shift }, (error) =>
      next(error ?? undefined),
    );
    body.pipe(entry);
  });
  input.on('finish', () => output.finalize());
  input.on('error', (error) => output.destroy(error));
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const tap = new Transform({
    transform(piece: Buffer, _encoding, done) {
      hash.update(piece);
      sizeBytes += piece.length;
      done(null, piece);
    },
  });
  await Promise.all([
    pipeline(unpackedBytes(from, await compressionOfFile(from), 'the layer', signal), input, { signal }),
    pipeline(output, tap, createWriteStream(to, { mode: 0o600 }), { signal }),
  ]);
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes };
}
