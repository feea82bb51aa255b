/**
 * From documents and blobs to a record, the same for archives and registries: every blob is there, every layer has its
 * promised diff id and no hostile entry, the config is for Linux and this machine.
 */
import { SkerryError } from '@skerry/model';
import { compressionOfFile } from '../content/compression.ts';
import type { ImageRecord } from '../content/records.ts';
import { hostArchitecture, type ImageConfig, UNIKRAFT_PLATFORMS } from './documents.ts';
import { examineLayer, type LayerSigns } from './layer.ts';
import { declaredByKraft, declaredByRunh, declaredByUrunc, URUNC_FILE } from './unikernel/declared.ts';
import type { Stage } from './unikernel/extract.ts';
import { packedUnikernel } from './unikernel/pack.ts';

export interface FoundLayer {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface FoundImage {
  /** Of the manifest; of the config where the format has no manifest (docker save before 25). */
  readonly digest: string;
  readonly config: ImageConfig;
  readonly layers: readonly FoundLayer[];
  readonly metadata: readonly { readonly digest: string; readonly sizeBytes: number }[];
  readonly source: string;
  /** Of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Whether it can run here, as far as the config tells. Errors: image_invalid. */
export function checkConfig(config: ImageConfig, layerCount: number): void {
  const refuse = (message: string) => {
    throw new SkerryError('image_invalid', message);
  };
  if (UNIKRAFT_PLATFORMS.includes(config.os) && config.os !== 'qemu')
    refuse(`the image is a Unikraft build for ${config.os}: Skerry starts those for the platform qemu`);
  if (config.os !== 'linux' && config.os !== 'qemu') refuse(`the image is for ${config.os}, not for linux`);
  if (config.architecture !== hostArchitecture())
    refuse(`the image is for ${config.architecture}, this node is ${hostArchitecture()}`);
  if (config.diffIds.length !== layerCount)
    refuse(`the config promises ${config.diffIds.length} layers, the manifest has ${layerCount}`);
  if (layerCount === 0) refuse('the image has no layers: there is nothing to run');
}

/** `stage` keeps what has to be a blob of its own. Errors: image_invalid, image_digest_mismatch, unsupported, disk_full, cancelled. */
export async function finishImage(
  image: FoundImage,
  signal: AbortSignal,
  stage: Stage,
): Promise<ImageRecord> {
  const { config, layers, annotations = {} } = image;
  const signs: LayerSigns = {
    ...{ texts: new Map(), wantedTexts: new Set([URUNC_FILE]) },
    ...{ named: [], wantedName: /(?:^|\/)hermit-loader[^/]*$/ },
  };
  checkConfig(config, layers.length);
  const described = [];
  for (const [i, layer] of layers.entries()) {
    const label = `layer ${i} (${layer.digest.slice(0, 19)})`;
    const compression = await compressionOfFile(layer.path);
    const diffId = await examineLayer(layer.path, compression, label, signal, signs);
    if (diffId !== config.diffIds[i]) {
      throw new SkerryError(
        'image_digest_mismatch',
        `${label} unpacks to ${diffId.slice(0, 19)}, the config promises ${config.diffIds[i]!.slice(0, 19)}`,
      );
    }
    const mediaType = `application/vnd.oci.image.layer.v1.tar${compression === 'none' ? '' : `+${compression}`}`;
    described.push({ digest: layer.digest, sizeBytes: layer.sizeBytes, mediaType, diffId });
  }
  const declared =
    declaredByKraft(config, annotations, layers) ??
    declaredByUrunc(config, annotations, signs.texts.get(URUNC_FILE)) ??
    declaredByRunh(config, signs.named[0]);
  if (declared) return packedUnikernel(image, declared, stage, signal);
  const sizeBytes = [...layers, ...image.metadata].reduce((sum, blob) => sum + blob.sizeBytes, 0);
  return {
    facts: {
      kind: 'container',
      digest: image.digest,
      sizeBytes,
      arch: config.architecture,
      source: image.source,
      facts: { config: config.config, layers: described },
    },
    blobs: [
      ...new Set([...image.metadata.map((blob) => blob.digest), ...layers.map((layer) => layer.digest)]),
    ],
  };
}
