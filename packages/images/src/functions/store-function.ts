/** A function into the store: lowered first, kept as the text that the guest evaluates. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { SkerryError } from '@skerry/model';
import type { BlobStore } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import { lowerApart } from './lower-apart.ts';

const LIMIT_BYTES = 1024 * 1024;

function checkSize(text: string, what: string): void {
  const size = Buffer.byteLength(text);
  if (size > LIMIT_BYTES)
    throw new SkerryError('function_invalid', `${what} has ${size} bytes, more than ${LIMIT_BYTES}`);
}

/** Errors: function_invalid with details {line, column}, disk_full. */
export async function storeFunction(
  source: string,
  filename: string,
  blobs: BlobStore,
): Promise<ImageRecord> {
  checkSize(source, 'the function');
  const lowered = await lowerApart(source, filename);
  checkSize(lowered.text, 'the lowered function');
  const staged = await blobs.stageText(lowered.text);
  await blobs.commit(staged);
  return {
    facts: {
      kind: 'function',
      digest: staged.digest,
      sizeBytes: staged.sizeBytes,
      arch: 'amd64', // pebble's
      source: `function: ${basename(filename)}`,
      facts: {
        exports: [...lowered.exports],
        engine: 'duktape 2.7',
        sourceBytes: Buffer.byteLength(source),
        sourceDigest: `sha256:${createHash('sha256').update(source).digest('hex')}`,
      },
    },
    blobs: [staged.digest],
  };
}
