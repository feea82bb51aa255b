/**
 * Writes a stream into a file and leaves holes where it has only zeros: a disk image is mostly that, and must not take on
 * the host what it does not hold.
 */
import { type FileHandle, open } from 'node:fs/promises';

/** A block of the file systems that data folders lie on is no larger; a hole of less is none. */
const BLOCK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

const isZero = (piece: Buffer) =>
  piece.length === BLOCK_BYTES ? piece.equals(ZEROS) : piece.equals(ZEROS.subarray(0, piece.length));

async function writeAll(file: FileHandle, piece: Buffer, at: number): Promise<void> {
  for (let done = 0; done < piece.length; )
    done += (await file.write(piece, done, piece.length - done, at + done)).bytesWritten;
}

/** Neighbouring blocks with content go out in one write. */
async function writeBlocks(file: FileHandle, piece: Buffer, at: number): Promise<void> {
  let from: number | undefined;
  for (let offset = 0; offset < piece.length; offset += BLOCK_BYTES) {
    const zero = isZero(piece.subarray(offset, offset + BLOCK_BYTES));
    if (!zero) from ??= offset;
    else if (from !== undefined) {
      await writeAll(file, piece.subarray(from, offset), at + from);
      from = undefined;
    }
  }
  if (from !== undefined) await writeAll(file, piece.subarray(from), at + from);
}

/** The file is new and has the length of the stream afterwards. */
export async function writeSparse(
  path: string,
  source: AsyncIterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    let at = 0;
    for await (const piece of source) {
      const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      await writeBlocks(file, bytes, at);
      at += bytes.length;
    }
    await file.truncate(at);
  } finally {
    await file.close();
  }
}
