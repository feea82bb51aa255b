/**
 * Images in the engine: given to it from the image room as a `docker save` archive, once, under a name of our own, and taken
 * away when the image room no longer has them. The engine pulls nothing by itself.
 */

import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ImageContent } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import { pack } from 'tar-stream';
import { type ContainerImage, containerImage } from '../containerd/image-facts.ts';
import { type EngineApi, EngineRefusal, isNotThere } from './engine-api.ts';
import { digestOfImage, imageName, imageRepository } from './names.ts';
import { plainLayer } from './plain-layer.ts';

const LOAD_LIMIT_MS = 600_000;

export interface LoadedImage {
  readonly name: string;
  readonly image: ContainerImage;
}

export class EngineImages {
  readonly #api: EngineApi;
  readonly #images: ImageContent;
  readonly #identityId: string;
  readonly #loading = new Map<string, Promise<LoadedImage>>();

  constructor(api: EngineApi, images: ImageContent, identityId: string) {
    this.#api = api;
    this.#images = images;
    this.#identityId = identityId;
  }

  /** Callers at once share the work. Errors: image_not_found, image_wrong_kind, image_invalid, disk_full, engine_unavailable. */
  load(digest: string): Promise<LoadedImage> {
    const known = this.#loading.get(digest);
    if (known) return known;
    const work = this.#load(digest).finally(() => this.#loading.delete(digest));
    this.#loading.set(digest, work);
    return work;
  }

  async #load(digest: string): Promise<LoadedImage> {
    const image = containerImage(await this.#images.facts(digest));
    const name = imageName(this.#identityId, digest);
    if (!(await this.#has(name))) await this.#give(name, image);
    return { name, image };
  }

  async #has(name: string): Promise<boolean> {
    try {
      await this.#api.call('GET', `/images/${encodeURIComponent(name)}/json`);
      return true;
    } catch (error) {
      if (isNotThere(error)) return false;
      throw error;
    }
  }

  /** github.com/moby/moby, image/spec/v1.2.md: manifest.json, a configuration, a tar for each layer. */
  async #give(name: string, { layers, config }: ContainerImage): Promise<void> {
    const configuration = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        config: {
          ...{ Entrypoint: config.entrypoint ?? null, Cmd: config.cmd ?? null, Env: config.env ?? [] },
          ...{ WorkingDir: config.workingDir ?? '', User: config.user ?? '' },
          ...(config.stopSignal === undefined ? {} : { StopSignal: config.stopSignal }),
        },
        rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      }),
    );
    const configName = `${createHash('sha256').update(configuration).digest('hex')}.json`;
    const archive = pack();
    const left = new AbortController(); // the engine does not listen any more
    const write = (path: string, body: Buffer) =>
      new Promise<void>((resolve, reject) => {
        archive.entry({ name: path, mode: 0o644 }, body, (error) => (error ? reject(error) : resolve()));
      });
    const fill = async () => {
      await write(configName, configuration);
      for (const [at, { digest }] of layers.entries()) {
        const layer = await plainLayer(this.#images.blobPath(digest), left.signal);
        try {
          const header = { name: `${at}/layer.tar`, size: layer.sizeBytes, mode: 0o644 };
          await pipeline(layer.read(), archive.entry(header));
        } finally {
          await layer.close();
        }
      }
      const manifest = [
        { Config: configName, RepoTags: [name], Layers: layers.map((_, at) => `${at}/layer.tar`) },
      ];
      await write('manifest.json', Buffer.from(JSON.stringify(manifest)));
      archive.finalize();
    };
    const filling = fill().catch((error) => {
      archive.destroy(error);
      throw error;
    });
    try {
      const told = await this.#api.open('POST', '/images/load', {
        tar: Readable.from(archive),
        query: { quiet: true },
        timeoutMs: LOAD_LIMIT_MS,
      });
      let words = '';
      for await (const piece of told) words += Buffer.from(piece).toString();
      // The engine answers 200 and tells of a failure in the stream.
      const failure = /"error":"((?:[^"\\]|\\.)*)"/.exec(words)?.[1];
      if (failure) throw new EngineRefusal(500, failure);
      await filling;
    } catch (error) {
      left.abort();
      archive.destroy(); // where the engine left off listening, nobody else ends it
      const own = await filling.then(
        () => undefined,
        (reason: NodeJS.ErrnoException | SkerryError) => reason,
      );
      if (own?.code === 'ENOENT')
        throw new SkerryError('image_not_found', `a layer of ${name} is not there`, { cause: own });
      if (own?.code === 'ENOSPC')
        throw new SkerryError('disk_full', `there is no space to unpack a layer of ${name}`, { cause: own });
      if (own instanceof SkerryError && own.code !== 'cancelled') throw own;
      if (!(error instanceof EngineRefusal)) throw error;
      const full = /no space left/i.test(error.message);
      throw new SkerryError(
        full ? 'disk_full' : 'image_invalid',
        `the engine did not take the image ${name}: ${error.message.slice(0, 300)}`,
        { cause: error },
      );
    }
  }

  /** Takes away what the image room no longer has and no container needs; with `all`, everything of ours. */
  async sweep(all = false): Promise<void> {
    const filters = JSON.stringify({ reference: [`${imageRepository(this.#identityId)}:*`] });
    const found = await this.#api.call<{ RepoTags: string[] | null }[]>('GET', '/images/json', {
      query: { filters },
    });
    for (const name of found.flatMap(({ RepoTags }) => RepoTags ?? [])) {
      if (!name.startsWith(`${imageRepository(this.#identityId)}:`)) continue;
      if (all || !(await this.#images.has(digestOfImage(name)))) await this.#take(name, all);
    }
  }

  /** After a guest went: takes its image away where the image room no longer has it and no other guest needs it. */
  async release(digest: string): Promise<void> {
    if (!(await this.#images.has(digest))) await this.#take(imageName(this.#identityId, digest), false);
  }

  async #take(name: string, force: boolean): Promise<void> {
    try {
      await this.#api.call('DELETE', `/images/${encodeURIComponent(name)}`, { query: { force } });
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error; // in use, or gone meanwhile
    }
  }
}
