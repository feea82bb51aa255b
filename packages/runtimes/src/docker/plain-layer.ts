/**
 * A layer as every Docker engine reads it. Those before version 23 know no zstd: such a layer is unpacked first, whatever the
 * engine, into a file without a name, of which a crash leaves nothing.
 */

import { createReadStream } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { compressionOfFile, unpackedBytes } from '@skerry/images';

const PIECE_BYTES = 1024 * 1024;

export interface PlainLayer {
  readonly sizeBytes: number;
  /** Once only. */
  read(): Readable;
  close(): Promise<void>;
}

/** Errors: ENOENT of the blob; image_invalid (damaged), host_missing, cancelled; ENOSPC. */
export async function plainLayer(path: string, signal: AbortSignal): Promise<PlainLayer> {
  if ((await compressionOfFile(path)) !== 'zstd') {
    const { size: sizeBytes } = await stat(path);
    return { sizeBytes, read: () => createReadStream(path), close: async () => undefined };
  }
  const file = await namelessFile();
  try {
    let sizeBytes = 0;
    for await (const piece of unpackedBytes(path, 'zstd', 'the layer', signal)) {
      await file.writeFile(piece);
      sizeBytes += piece.length;
    }
    return {
      sizeBytes,
      read: () => file.createReadStream({ start: 0, autoClose: false, highWaterMark: PIECE_BYTES }),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function namelessFile(): Promise<FileHandle> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-engine-layer-'));
  try {
    return await open(join(folder, 'layer.tar'), 'wx+', 0o600);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
