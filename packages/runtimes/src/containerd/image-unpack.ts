/**
 * Layers of an image to a chain of committed snapshots, once. containerd applies the layers itself and checks digests and
 * diff ids; the compressed copy in its content store is thrown away afterwards. A crash in the middle leaves an active
 * snapshot or a blob, both of which the next start removes.
 */
import { createHash } from 'node:crypto';
import { chownSync } from 'node:fs';
import type { ImageContent } from '@skerry/images';
import { newId, SkerryError } from '@skerry/model';
import {
  alreadyExists,
  type Calls,
  type EngineClient,
  isNotFound,
  SNAPSHOTTER,
  type SnapshotInfo,
} from './client.ts';
import { translate } from './failures.ts';
import { type ContainerImage, containerImage, type LayerFact } from './image-facts.ts';
import { type IdShift, layerSource } from './layer-source.ts';
import type { Logger } from './logger.ts';
import { layerFolders } from './oci-user.ts';

/** Keeps a thing although nothing refers to it (containerd's docs/garbage-collection.md). */
const KEEP = { 'containerd.io/gc.root': '1' } as const;
const IMAGE_LABEL = 'skerry/image';
const ACTIVE_PREFIX = 'unpack-';
const COMMITTED = 3;

export interface UnpackedImage {
  readonly image: ContainerImage;
  /** Name of the committed snapshot that holds the whole root file system. */
  readonly snapshot: string;
}

/** Identity of a stack of layers: github.com/opencontainers/image-spec, config.md, "Layer ChainID". */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(
      parent === undefined
        ? diffId
        : `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}`,
    );
  }
  return chain;
}

export class ImageUnpacker {
  readonly #client: EngineClient;
  readonly #images: ImageContent;
  readonly #logger: Logger;
  /** Snapshots and uploads of unpackings that go on now: not leftovers. */
  readonly #busy = new Set<string>();
  readonly #unpacked = new Map<string, Promise<UnpackedImage>>();

  constructor(client: EngineClient, images: ImageContent, logger: Logger) {
    this.#client = client;
    this.#images = images;
    this.#logger = logger;
  }

  /** Callers at once share the work. Errors: image_not_found, image_wrong_kind, image_invalid, disk_full. */
  async unpack(digest: string, shift: IdShift | undefined): Promise<UnpackedImage> {
    const key = shift ? `${digest}+${shift}` : digest;
    const known = this.#unpacked.get(key);
    if (known) return known;
    const work = this.#unpack(digest, shift);
    this.#unpacked.set(key, work);
    work.catch(() => this.#unpacked.delete(key));
    return work;
  }

  /** Forgets what is known of snapshots: the engine was started anew, or one turned out to be gone. */
  forget(): void {
    this.#unpacked.clear();
  }

  async #unpack(digest: string, shift: IdShift | undefined): Promise<UnpackedImage> {
    const image = containerImage(await this.#images.facts(digest));
    const signal = AbortSignal.timeout(600_000); // shared by callers: none of them may cancel it
    const suffix = shift ? `+${shift}` : '';
    const chain = chainIds(image.layers.map((layer) => layer.diffId)).map((id) => `${id}${suffix}`);
    const snapshot = chain.at(-1)!;
    if (await this.#exists(snapshot)) return { image, snapshot };
    try {
      for (const [i, layer] of image.layers.entries()) {
        if (!(await this.#exists(chain[i]!))) {
          await this.#apply(layer, chain[i]!, chain[i - 1] ?? '', digest, shift, signal);
        }
      }
    } catch (error) {
      throw translate(error, 'image_invalid', `the image ${digest.slice(0, 19)} could not be unpacked`);
    }
    this.#logger.info({ image: digest, layers: image.layers.length }, 'image unpacked');
    void this.sweep().catch((error) => this.#logger.warn({ err: error }, 'old images could not be swept'));
    return { image, snapshot };
  }

  async #exists(name: string): Promise<boolean> {
    try {
      const { info } = await this.#client.call('Snapshots.Stat', { key: name });
      return info.kind === COMMITTED;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  async #apply(
    layer: LayerFact,
    name: string,
    parent: string,
    image: string,
    shift: IdShift | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const source = await layerSource(this.#images.blobPath(layer.digest), layer, shift, signal);
    const key = `${ACTIVE_PREFIX}${newId<'unpack'>()}`;
    this.#busy.add(key).add(source.digest);
    try {
      await this.#client.writeContent({ ...source, labels: KEEP }, source.read(), signal);
      const { mounts } = await this.#client.call(
        'Snapshots.Prepare',
        { key, parent, labels: KEEP },
        { signal },
      );
      const { applied } = await this.#client.call(
        'Diff.Apply',
        { diff: { mediaType: source.mediaType, digest: source.digest, size: source.sizeBytes }, mounts },
        { signal, timeoutMs: 600_000 },
      );
      if (shift !== undefined) {
        // The root folder is the snapshot's own; those made from this one take its owner over.
        for (const folder of layerFolders(mounts).slice(0, 1)) chownSync(folder, shift, shift);
      } else if (applied.digest !== layer.diffId) {
        throw new SkerryError(
          'image_invalid',
          `the layer ${layer.digest} unpacks to ${applied.digest}, not to ${layer.diffId} as its image promises`,
        );
      }
      const labels = { ...KEEP, [IMAGE_LABEL]: image };
      await this.#client.call('Snapshots.Commit', { key, name, labels }, { signal });
    } catch (error) {
      await this.#client.call('Snapshots.Remove', { key }).catch(() => undefined);
      if (!alreadyExists(error)) throw error;
    } finally {
      await this.#client.call('Content.Delete', { digest: source.digest }).catch(() => undefined);
      this.#busy.delete(key);
      this.#busy.delete(source.digest);
    }
  }

  async #snapshots(): Promise<SnapshotInfo[]> {
    const found: SnapshotInfo[] = [];
    const signal = AbortSignal.timeout(30_000);
    const pages = this.#client.stream<{ info: SnapshotInfo[] }>('Snapshots.List', {}, signal);
    for await (const page of pages) found.push(...page.info);
    return found;
  }

  /** Removes what an unpacking left that was cut off: by our end, or by the engine's. */
  async clearInterrupted(): Promise<void> {
    for (const { name: key } of await this.#snapshots()) {
      if (key.startsWith(ACTIVE_PREFIX) && !this.#busy.has(key))
        await this.#gone('Snapshots.Remove', { key });
    }
    const signal = AbortSignal.timeout(30_000);
    const pages = this.#client.stream<{ info: { digest: string }[] }>('Content.List', {}, signal);
    for await (const page of pages) {
      for (const { digest } of page.info) {
        if (!this.#busy.has(digest)) await this.#gone('Content.Delete', { digest });
      }
    }
  }

  async #gone<K extends 'Snapshots.Remove' | 'Content.Delete'>(name: K, request: Calls[K][0]): Promise<void> {
    try {
      await this.#client.call(name, request);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Removes the snapshots of images that the store no longer has and no guest uses, from the top down. */
  async sweep(): Promise<void> {
    const gone = new Map<string, boolean>();
    const isGone = async (digest: string) => {
      const known = gone.get(digest);
      if (known !== undefined) return known;
      const answer = await this.#images.facts(digest).then(
        () => false,
        (error) => error instanceof SkerryError && error.code === 'image_not_found',
      );
      gone.set(digest, answer);
      return answer;
    };
    for (let removed = true; removed; ) {
      removed = false;
      const all = await this.#snapshots();
      const parents = new Set(all.map((one) => one.parent));
      for (const { name, kind, labels } of all) {
        const image = labels[IMAGE_LABEL];
        if (kind !== COMMITTED || image === undefined || parents.has(name) || !(await isGone(image)))
          continue;
        this.forget();
        await this.#client.call('Snapshots.Remove', { key: name });
        removed = true;
      }
    }
  }

  /** Everything in the namespace, children before parents: for `destroy` on an engine that goes on. */
  async removeAll(): Promise<void> {
    this.forget();
    for (let rest = await this.#snapshots(); rest.length > 0; ) {
      const parents = new Set(rest.map((one) => one.parent));
      const leaves = rest.filter((one) => !parents.has(one.name));
      for (const { name } of leaves) await this.#client.call('Snapshots.Remove', { key: name });
      rest = rest.filter((one) => !leaves.includes(one));
    }
    this.#logger.debug({ snapshotter: SNAPSHOTTER }, 'all snapshots removed');
  }
}
