/** The image room of a node: takes files, pulls, functions; keeps blobs and records; forgets what nobody needs. */
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import { BlobStore } from './content/blob-store.ts';
import { fetchImage, manifestOf } from './content/fetch-image.ts';
import { Records } from './content/records.ts';
import { storeFunction } from './functions/store-function.ts';
import { type Found, lookAt } from './look.ts';
import type { ImageStore } from './port.ts';
import { pullImage } from './registry/pull.ts';

/** Names that an image may have on a node; whether one means a registry, only a pull asks. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$/;

export interface ImageStoreOptions {
  readonly dataDir: string;
  /** The first pause before a registry is asked again. Default 200 ms. */
  readonly retryPauseMs?: number;
}

export async function createImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const { dataDir, retryPauseMs = 200 } = options;
  const folder = join(dataDir, 'images');
  const blobs = new BlobStore(folder);
  const records = new Records(folder);
  await blobs.start();
  await records.start();
  // Writers put blobs first and the record last: a collection in between would take the blobs away.
  let writers = 0;
  let collecting: Promise<unknown> | undefined;
  const writing = async <T>(task: () => Promise<T>): Promise<T> => {
    while (collecting) await collecting.catch(() => undefined);
    writers++;
    try {
      return await task();
    } finally {
      writers--;
    }
  };

  /** The names under which the images of a file are known from now on. Errors: request_invalid, image_invalid. */
  const nameAll = ({ images }: Found, wanted: string | undefined) => {
    if (wanted !== undefined && new Set(images.map(({ record }) => record.facts.digest)).size > 1) {
      throw new SkerryError(
        'request_invalid',
        `the archive has ${images.length} images: they can not all be called ${wanted}`,
      );
    }
    return images.slice(0, wanted === undefined ? images.length : 1).map(({ reference, record }) => {
      const name = wanted ?? reference;
      if (name === undefined)
        throw new SkerryError(
          'request_invalid',
          'the file does not name its image: give it a name with --name',
        );
      if (!NAME.test(name)) {
        const code = wanted === undefined ? 'image_invalid' : 'request_invalid';
        throw new SkerryError(
          code,
          `${JSON.stringify(name.slice(0, 80))} can be no name of an image: use --name`,
        );
      }
      return { reference: name, facts: record.facts };
    });
  };

  const importFile: ImageStore['importFile'] = (path, { reference, signal, progress }) =>
    writing(async () => {
      const found = await lookAt(path, blobs, signal, progress ?? (() => undefined));
      try {
        const named = nameAll(found, reference);
        await found.keep();
        for (const { record } of found.images) records.put(record);
        return named;
      } finally {
        await found.discard();
      }
    });

  const collect = async (keep: ReadonlySet<string>): Promise<number> => {
    const needed = new Set<string>();
    // Everything that is kept is read before anything goes: a record that can't be read stops it.
    const known = await records.digests();
    const stay = new Set(known.filter((digest) => keep.has(digest)));
    for (const digest of stay) for (const blob of (await records.get(digest)).blobs) needed.add(blob);
    for (const digest of known) if (!stay.has(digest)) await records.remove(digest);
    return blobs.collect(needed);
  };

  // What a crash or a refused image left: blobs that no record names. A record that can't be read keeps them all.
  await collect(new Set(await records.digests())).catch(() => 0);

  const has = async (digest: string): Promise<boolean> => {
    const record = await records.get(digest).catch(() => undefined);
    if (!record) return false;
    return (await Promise.all(record.blobs.map((blob) => blobs.has(blob)))).every(Boolean);
  };

  return {
    blobPath: (digest) => blobs.path(digest),
    has,
    facts: async (digest) => (await records.get(digest)).facts,
    manifest: (digest) => manifestOf(records, blobs, digest),
    fetch: (digest, source, signal) =>
      writing(async () => {
        if (await has(digest)) return (await records.get(digest)).facts;
        const record = await fetchImage(blobs, digest, source, signal);
        records.put(record);
        return record.facts;
      }),
    importFile,
    pull: (reference, options) =>
      writing(async () => {
        const record = await pullImage(blobs, reference, options, retryPauseMs);
        records.put(record);
        return record.facts;
      }),
    createFunction: (source, filename) =>
      writing(async () => {
        const record = await storeFunction(source, filename, blobs);
        records.put(record);
        return record.facts;
      }),
    async collect(keep) {
      while (collecting) await collecting.catch(() => undefined);
      if (writers > 0) return 0; // the next one takes it
      const running = collect(keep).finally(() => {
        collecting = undefined;
      });
      collecting = running;
      return running;
    },
  };
}
