/**
 * An image from another store that is trusted, such as the controller's: its record as it is, and each blob that is not
 * here yet, checked against its digest. The record comes last: an image that is only half here is none.
 */
import { SkerryError } from '@skerry/model';
import type { ImageFacts } from '../port.ts';
import { type BlobSource, downloadBlob } from '../registry/download.ts';
import type { BlobStore } from './blob-store.ts';
import type { ImageRecord, Records } from './records.ts';

/** An image as one store gives it to another. */
export interface ImageManifest {
  readonly facts: ImageFacts;
  readonly blobs: readonly { readonly digest: string; readonly sizeBytes: number }[];
}

export interface ImageSource extends BlobSource {
  /** Errors: image_not_found. */
  manifest(digest: string, signal: AbortSignal): Promise<ImageManifest>;
}

/** What `digest` is and needs, for another store. Errors: image_not_found. */
export async function manifestOf(records: Records, blobs: BlobStore, digest: string): Promise<ImageManifest> {
  const record = await records.get(digest);
  return {
    facts: record.facts,
    blobs: await Promise.all(
      record.blobs.map(async (blob) => ({ digest: blob, sizeBytes: await blobs.sizeBytes(blob) })),
    ),
  };
}

/** Errors: image_not_found, image_digest_mismatch, image_invalid, registry_unavailable, disk_full, cancelled. */
export async function fetchImage(
  blobs: BlobStore,
  digest: string,
  source: ImageSource,
  signal: AbortSignal,
): Promise<ImageRecord> {
  const { facts, blobs: wanted } = await source.manifest(digest, signal);
  if (facts.digest !== digest)
    throw new SkerryError('image_invalid', `asked for the image ${digest}, got ${facts.digest}`);
  for (const { digest: blob, sizeBytes } of wanted)
    await downloadBlob(source, blobs, { digest: blob, sizeBytes }, () => undefined, signal);
  return { facts, blobs: wanted.map((blob) => blob.digest) };
}
