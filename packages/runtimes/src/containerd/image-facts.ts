/** What a container needs of its image's record: layers and defaults. The image room checked the content when it came. */
import type { ImageFacts } from '@skerry/images';
import { SkerryError } from '@skerry/model';

export interface LayerFact {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
  /** Digest of the tar without compression. */
  readonly diffId: string;
}

/** Defaults that the image brings (github.com/opencontainers/image-spec, config.md). */
export interface ImageDefaults {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly stopSignal?: string;
}

export interface ContainerImage {
  readonly digest: string;
  readonly layers: readonly LayerFact[];
  readonly config: ImageDefaults;
}

/** Errors: image_wrong_kind, image_invalid. */
export function containerImage(record: ImageFacts): ContainerImage {
  if (record.kind !== 'container') {
    throw new SkerryError(
      'image_wrong_kind',
      `the image ${record.digest.slice(0, 19)} is a ${record.kind}; the container runtime needs a container image`,
    );
  }
  const { layers, config } = record.facts as { layers?: LayerFact[]; config?: ImageDefaults };
  if (!Array.isArray(layers) || layers.length === 0) {
    throw new SkerryError('image_invalid', `the image ${record.digest.slice(0, 19)} has no layers`);
  }
  return { digest: record.digest, layers, config: config ?? {} };
}
