/**
 * What runtimes ask of the image room of their node. Content is addressed by digest; names are the controller's.
 */
import type { Image } from '@skerry/model';
import type { ImageManifest, ImageSource } from './content/fetch-image.ts';

export type { ImageManifest, ImageSource };

/** Status of an image: what a look into its content recognised. */
export type ImageFacts = Image['status'];

export interface ImageContent {
  /** Path of a blob in the content store; it exists, is complete, and its digest was checked when it was written. */
  blobPath(digest: string): string;
  has(digest: string): Promise<boolean>;
  /** The record of an image by its digest. Errors: image_not_found. */
  facts(digest: string): Promise<ImageFacts>;
}

export interface ImageStore extends ImageContent {
  /** What an image is and needs, for another store. Errors: image_not_found. */
  manifest(digest: string): Promise<ImageManifest>;
  /** Brings an image from another store, unless it is here. Errors: image_not_found, image_digest_mismatch, image_invalid, registry_unavailable, disk_full, cancelled. */
  fetch(digest: string, source: ImageSource, signal: AbortSignal): Promise<ImageFacts>;
  /** Takes any supported file (docker save, OCI archive or layout folder, unikernel ELF) by its content. `reference` is checked, not stored here. */
  importFile(
    path: string,
    options: {
      readonly reference?: string;
      readonly signal: AbortSignal;
      readonly progress?: (done: number, total: number) => void;
    },
  ): Promise<{ reference: string; facts: ImageFacts }[]>;
  /** registry -> blobs: manifest lists, token auth, resume, digests checked. */
  pull(
    reference: string,
    options: {
      readonly signal: AbortSignal;
      readonly insecure?: boolean;
      readonly auth?: { username: string; password: string };
      readonly progress?: (done: number, total: number) => void;
    },
  ): Promise<ImageFacts>;
  /** Lowers a JavaScript or TypeScript function and stores it. Errors: function_invalid with details {line, column}. */
  createFunction(source: string, filename: string): Promise<ImageFacts>;
  /** Removes all blobs that no image of `keep` (digests) needs. Returns bytes freed. */
  collect(keep: ReadonlySet<string>): Promise<number>;
}
