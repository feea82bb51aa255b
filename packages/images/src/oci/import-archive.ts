/** From a staged archive to images: what it names, in the form that it has. */
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import type { StagedArchive } from './archive.ts';
import {
  choosePlatform,
  type Descriptor,
  type ImageManifest,
  INDEX_TYPES,
  parseConfig,
  parseDocument,
  parseIndex,
  parseManifest,
} from './documents.ts';
import { type FoundImage, finishImage } from './finish.ts';
import { hermitImage } from './unikernel/hermit-image.ts';

export interface ImportedImage {
  /** What the archive calls it; undefined where it has no name. */
  readonly reference: string | undefined;
  readonly record: ImageRecord;
}

interface FoundManifest {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
}

/** An index in an index is what build tools write; deeper than this nobody goes. */
const DEPTH_LIMIT = 4;

const isIndex = (descriptor: Descriptor) => INDEX_TYPES.includes(descriptor.mediaType);
const blobName = ({ digest }: Descriptor) => `blobs/${digest.replace(':', '/')}`;

function fileOf(archive: StagedArchive, name: string): StagedBlob {
  const file = archive.files.get(name);
  if (!file) throw new SkerryError('image_invalid', `the archive lacks ${name}, which its documents name`);
  return file;
}
const blobOf = (archive: StagedArchive, descriptor: Descriptor): StagedBlob => {
  const { digest, sizeBytes } = descriptor;
  const file = fileOf(archive, blobName(descriptor));
  if (file.sizeBytes !== sizeBytes)
    throw new SkerryError(
      'image_invalid',
      `${digest.slice(0, 19)} has ${file.sizeBytes} bytes, its descriptor promises ${sizeBytes}`,
    );
  return file;
};
const documentOf = async (archive: StagedArchive, descriptor: Descriptor, what: string) => {
  blobOf(archive, descriptor);
  return parseDocument((await archive.text(blobName(descriptor)))!, what);
};

async function fromLayout(
  archive: StagedArchive,
  index: Descriptor[],
): Promise<{ reference: string | undefined; image: FoundImage }[]> {
  // Without names, an index lists the platforms of one image; with names, images.
  const named = index.filter(
    (one) =>
      one.annotations['org.opencontainers.image.ref.name'] ?? one.annotations['io.containerd.image.name'],
  );
  const roots = named.length > 0 ? named : [choosePlatform(index)];
  const found = [];
  for (const root of roots) {
    let descriptor = root;
    for (let depth = 0; isIndex(descriptor) && depth < DEPTH_LIMIT; depth++) {
      const inner = parseIndex(await documentOf(archive, descriptor, 'the inner index'));
      if (!inner) throw new SkerryError('image_invalid', 'the inner index lists no manifests');
      descriptor = choosePlatform(inner);
    }
    const manifest = parseManifest(await documentOf(archive, descriptor, 'the manifest'));
    const config = parseConfig(await documentOf(archive, manifest.config, 'the config'));
    const layers = manifest.layers.map((layer) => ({
      ...blobOf(archive, layer),
      annotations: layer.annotations,
    }));
    const { annotations } = root;
    found.push({
      reference: annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'],
      image: {
        digest: descriptor.digest,
        config,
        layers,
        metadata: [blobOf(archive, descriptor), blobOf(archive, manifest.config)],
        source: 'import: OCI layout',
        annotations: { ...annotations, ...manifest.annotations },
      },
    });
  }
  return found;
}

/** The manifests of an index that are in the archive, by the digest of their config. Docker before 25 has none. */
async function manifestsOf(
  archive: StagedArchive,
  index: readonly Descriptor[],
): Promise<Map<string, FoundManifest>> {
  const found = new Map<string, FoundManifest>();
  const look = async (descriptors: readonly Descriptor[], depth: number): Promise<void> => {
    for (const descriptor of descriptors) {
      if (!archive.files.has(blobName(descriptor))) continue; // of another platform, which was not saved
      if (!isIndex(descriptor)) {
        const manifest = parseManifest(await documentOf(archive, descriptor, 'a manifest'));
        found.set(manifest.config.digest, { descriptor, manifest });
      } else if (depth < DEPTH_LIMIT)
        await look(parseIndex(await documentOf(archive, descriptor, 'the inner index')) ?? [], depth + 1);
    }
  };
  await look(index, 0);
  return found;
}

async function fromDockerSave(
  archive: StagedArchive,
  text: string,
  manifests: ReadonlyMap<string, FoundManifest>,
): Promise<{ reference: string | undefined; image: FoundImage }[]> {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new SkerryError('image_invalid', `manifest.json is no JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (!Array.isArray(list) || list.length === 0 || list.length > 1000)
    throw new SkerryError('image_invalid', 'manifest.json lists no images');
  const found = [];
  for (const item of list as { Config?: unknown; Layers?: unknown; RepoTags?: unknown }[]) {
    if (typeof item?.Config !== 'string' || !Array.isArray(item.Layers))
      throw new SkerryError('image_invalid', 'manifest.json names no config or no layers');
    const configFile = fileOf(archive, item.Config);
    const config = parseConfig(parseDocument((await archive.text(item.Config))!, item.Config));
    const layers = item.Layers.map((name) => fileOf(archive, String(name)));
    const tags =
      Array.isArray(item.RepoTags) && item.RepoTags.length > 0 ? item.RepoTags.map(String) : [undefined];
    const known = manifests.get(configFile.digest);
    const same = known?.manifest.layers.every((layer, i) => layer.digest === layers[i]?.digest);
    const manifest = known && same ? blobOf(archive, known.descriptor) : undefined;
    const image = {
      digest: (manifest ?? configFile).digest,
      config,
      layers,
      metadata: manifest ? [manifest, configFile] : [configFile],
      source: 'import: docker save',
      annotations: known?.manifest.annotations ?? {},
    };
    for (const reference of tags) found.push({ reference, image });
  }
  return found;
}

/** Reads and checks; keeps nothing. Errors: image_invalid, image_digest_mismatch, unsupported, cancelled. */
export async function readArchive(archive: StagedArchive, signal: AbortSignal): Promise<ImportedImage[]> {
  const indexText = await archive.text('index.json');
  const dockerText = await archive.text('manifest.json');
  const index = indexText === undefined ? undefined : parseIndex(parseDocument(indexText, 'index.json'));
  if (!index && dockerText === undefined) {
    const record = hermitImage(archive);
    if (record) return [{ reference: undefined, record }];
    throw new SkerryError(
      'image_invalid',
      'the archive is no container image: it has neither index.json (OCI) nor manifest.json (docker save)',
    );
  }
  // Of an archive that has both, docker's manifest knows the tags as they were asked for.
  const found =
    dockerText !== undefined
      ? await fromDockerSave(archive, dockerText, await manifestsOf(archive, index ?? []))
      : await fromLayout(archive, index!);
  const records = new Map<string, ImageRecord>();
  const imported: ImportedImage[] = [];
  for (const { reference, image } of found) {
    const record =
      records.get(image.digest) ??
      (await finishImage(image, signal, (source) => archive.add(source, signal)));
    records.set(image.digest, record);
    imported.push({ reference, record });
  }
  return imported;
}

/** Keeps the blobs that these images need. Errors: disk_full. */
export async function keepArchive(
  archive: StagedArchive,
  images: readonly ImportedImage[],
  blobs: BlobStore,
): Promise<void> {
  const needed = new Set(images.flatMap(({ record }) => record.blobs));
  for (const file of archive.files.values()) if (needed.delete(file.digest)) await blobs.commit(file);
}
