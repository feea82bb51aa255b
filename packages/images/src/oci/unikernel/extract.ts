/** Single files out of the layers of an image, staged as blobs of their own: a kernel, and what it loads beside itself. */
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import type { StagedBlob } from '../../content/blob-store.ts';
import { compressionOfFile, unpackedBytes } from '../../content/compression.ts';
import { readTar } from '../../content/read-tar.ts';
import { insideName } from '../safe-path.ts';
import { countUnpacked } from '../unpacked.ts';

/** Kernels and their first file systems are small: what is larger is no unikernel. */
const FILE_LIMIT_BYTES = 2 * 1024 ** 3;

export type Stage = (source: AsyncIterable<Uint8Array>) => Promise<StagedBlob>;

/**
 * The files of these paths; of several layers the last counts. Links are not followed. Whoever calls discards what comes
 * back. Errors: image_invalid, disk_full, cancelled.
 */
export async function extractFiles(
  layers: readonly { readonly path: string }[],
  wanted: ReadonlySet<string>,
  stage: Stage,
  signal: AbortSignal,
): Promise<Map<string, StagedBlob>> {
  const found = new Map<string, StagedBlob>();
  for (const [i, layer] of layers.entries()) {
    const tar = readTar();
    const consume = async () => {
      for await (const entry of tar) {
        const { name, type, size = 0 } = entry.header;
        const inside = insideName(name.replace(/^\/+/, ''));
        if (inside === undefined || !wanted.has(inside) || type !== 'file') {
          entry.resume();
          continue;
        }
        if (size > FILE_LIMIT_BYTES)
          throw new SkerryError('image_invalid', `${inside} has ${size} bytes, more than any unikernel`);
        found.set(inside, await stage(entry as AsyncIterable<Uint8Array>));
      }
    };
    const label = `layer ${i}`;
    const source = unpackedBytes(layer.path, await compressionOfFile(layer.path), label, signal);
    const feeding = pipeline(source, countUnpacked(label), tar);
    const consuming = consume();
    try {
      await Promise.all([feeding, consuming]);
    } catch (error) {
      tar.destroy();
      await Promise.allSettled([feeding, consuming]);
      if (signal.aborted) throw new SkerryError('cancelled', 'the import was cancelled', { cause: error });
      if (error instanceof SkerryError) throw error;
      throw new SkerryError('image_invalid', `${label} can not be read: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return found;
}
