/**
 * Compressed files: told by their first bytes, and read as what they unpack to. gzip is Node's own; xz and zstd are read by
 * their programs, with bounded memory.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { programOutput } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export type Compression = 'none' | 'gzip' | 'xz' | 'zstd';

/** RFC 1952, the .xz format 2.1.1.1, RFC 8878. */
const MAGICS: readonly (readonly [Compression, Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
];

/** An unpacker that takes longer than this for any image stands still. */
const TIMEOUT_MS = 60 * 60 * 1000;

/** Windows over 128 MiB are made by nobody who wants his image to be read on small machines. */
const PROGRAMS = {
  xz: ['--decompress', '--stdout', '--memlimit-decompress=256MiB'],
  zstd: ['--decompress', '--stdout', '--quiet', '--memory=128MiB'],
} as const;

const PIECE_BYTES = 1024 * 1024;

export function compressionOf(head: Uint8Array): Compression {
  return MAGICS.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? 'none';
}

export async function compressionOfFile(path: string): Promise<Compression> {
  const file = await open(path, 'r');
  const head = Buffer.alloc(6);
  await file.read(head, 0, head.length, 0).finally(() => file.close());
  return compressionOf(head);
}

/** What the file unpacks to; `what` is its name in errors. The caller counts it. Errors: image_invalid (damaged), host_missing, cancelled. */
export async function* unpackedBytes(
  path: string,
  compression: Compression,
  what: string,
  signal: AbortSignal,
  onRead: (bytes: number) => void = () => undefined,
): AsyncGenerator<Buffer, void, undefined> {
  if (compression === 'xz' || compression === 'zstd') {
    try {
      yield* programOutput(compression, PROGRAMS[compression], {
        signal,
        timeoutMs: TIMEOUT_MS,
        inputPath: path,
      });
    } catch (error) {
      if (error instanceof SkerryError && error.code === 'host_command_failed')
        throw new SkerryError('image_invalid', `${what} can not be unpacked: ${error.message}`, {
          cause: error,
        });
      throw error;
    }
    return;
  }
  const source = createReadStream(path, { highWaterMark: PIECE_BYTES, signal });
  try {
    if (compression === 'gzip') {
      source.on('data', () => onRead(source.bytesRead));
      // The error of either end reaches who reads: nothing is done about it here.
      const gunzip = pipeline(source, createGunzip({ chunkSize: 256 * 1024 }), () => undefined);
      for await (const piece of gunzip) yield piece as Buffer;
      return;
    }
    for await (const piece of source) {
      onRead(source.bytesRead);
      yield piece as Buffer;
    }
  } finally {
    source.destroy();
  }
}
