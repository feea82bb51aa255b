/** From a staged archive to images: what it names, in the form that it has. */
import { SkerryError } from '@skerry/model';
import type { BlobStore, StagedBlob } from '../content/blob-store.ts';
import type { ImageRecord } from '../content/records.ts';
import type { StagedArchive } from './archive.ts';
import {
  choosePlatform,
  type Descriptor,
  INDEX_TYPES,
  parseConfig,
  parseDocument,
  parseIndex,
  parseManifest,
} from './documents.ts';
import { type FoundImage, finishImage } from './finish.ts';

export interface ImportedImage {
  /** What the archive calls it; undefined where it has no name. */
  readonly reference: string | undefined;
  readonly record: ImageRecord;
}

const isIndex = (descriptor: Descriptor) => INDEX_TYPES.includes(descriptor.mediaType);

function fileOf(archive: StagedArchive, name: string): StagedBlob {
  const file = archive.files.get(name);
  if (!file) throw new SkerryError('image_invalid', `the archive lacks ${name}, which its documents name`);
  return file;
}
const blobOf = (archive: StagedArchive, { digest, sizeBytes }: Descriptor): StagedBlob => {
  const file = fileOf(archive, `blobs/${digest.replace(':', '/')}`);
  if (file.sizeBytes !== sizeBytes)
    throw new SkerryError(
      'image_invalid',
      `${digest.slice(0, 19)} has ${file.sizeBytes} bytes, its descriptor promises ${sizeBytes}`,
    );
  return file;
};
const documentOf = async (archive: StagedArchive, descriptor: Descriptor, what: string) => {
  blobOf(archive, descriptor);
  return parseDocument((await archive.text(`blobs/${descriptor.digest.replace(':', '/')}`))!, what);
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
    for (let depth = 0; isIndex(descriptor) && depth < 4; depth++) {
      const inner = parseIndex(await documentOf(archive, descriptor, 'the inner index'));
      if (!inner) throw new SkerryError('image_invalid', 'the inner index lists no manifests');
      descriptor = choosePlatform(inner);
    }
    const manifest = parseManifest(await documentOf(archive, descriptor, 'the manifest'));
    const config = parseConfig(await documentOf(archive, manifest.config, 'the config'));
    const layers = manifest.layers.map((layer) => blobOf(archive, layer));
    const { annotations } = root;
    found.push({
      reference: annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'],
      image: {
        digest: descriptor.digest,
        configDigest: manifest.config.digest,
        config,
        layers,
        metadata: [blobOf(archive, descriptor), blobOf(archive, manifest.config)],
        source: 'import: OCI layout',
      },
    });
  }
  return found;
}

async function fromDockerSave(
  archive: StagedArchive,
  text: string,
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
    for (const reference of tags) {
      const image = {
        digest: configFile.digest,
        configDigest: configFile.digest,
        config,
        layers,
        metadata: [configFile],
        source: 'import: docker save',
      };
      found.push({ reference, image });
    }
  }
  return found;
}

/** Errors: image_invalid, image_digest_mismatch. Nothing of a refused archive stays. */
export async function importArchive(
  archive: StagedArchive,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<ImportedImage[]> {
  const indexText = await archive.text('index.json');
  const dockerText = await archive.text('manifest.json');
  const index = indexText === undefined ? undefined : parseIndex(parseDocument(indexText, 'index.json'));
  if (!index && dockerText === undefined) {
    throw new SkerryError(
      'image_invalid',
      'the archive is no container image: it has neither index.json (OCI) nor manifest.json (docker save)',
    );
  }
  // Of an archive that has both, docker's manifest knows the tags as they were asked for.
  const found =
    dockerText !== undefined ? await fromDockerSave(archive, dockerText) : await fromLayout(archive, index!);
  const imported: ImportedImage[] = [];
  for (const { reference, image } of found)
    imported.push({ reference, record: await finishImage(image, signal) });
  const needed = new Set(imported.flatMap(({ record }) => record.blobs));
  const committed = new Set<string>();
  for (const file of archive.files.values()) {
    if (!needed.has(file.digest) || committed.has(file.digest)) continue;
    committed.add(file.digest);
    await blobs.commit(file);
  }
  return imported;
}
