/** The image room of a node: takes files, pulls, functions; keeps blobs and records; forgets what nobody needs. */
import { open, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { SkerryError } from '@skerry/model';
import { BlobStore } from './content/blob-store.ts';
import { type ImageRecord, Records } from './content/records.ts';
import { stageFolder, stageTar } from './oci/archive.ts';
import { importArchive } from './oci/import-archive.ts';
import type { ImageFacts, ImageStore } from './port.ts';
import { pullImage } from './registry/pull.ts';
import { inspectKernel } from './unikernel/inspect.ts';

/** Kernels larger than this are refused: unikernels are small, and the file is read into memory to look at it. */
const KERNEL_LIMIT_BYTES = 256 * 1024 * 1024;
const FUNCTION_LIMIT_BYTES = 1024 * 1024;

const ELF_MAGIC = 0x7f454c46;

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(512);
    const { bytesRead } = await file.read(head, 0, 512, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const looksLikeTar = (head: Buffer) => head.length === 512 && head.toString('latin1', 257, 262) === 'ustar';
const looksLikeGzip = (head: Buffer) => head[0] === 0x1f && head[1] === 0x8b;

export async function createImageStore({ dataDir }: { readonly dataDir: string }): Promise<ImageStore> {
  const folder = join(dataDir, 'images');
  const blobs = new BlobStore(folder);
  const records = new Records(folder);
  await blobs.start();
  await records.start();
  // Imports write blobs first and the record last; a collection in between would take them away.
  let busy = 0;
  const writing = async <T>(task: () => Promise<T>): Promise<T> => {
    busy++;
    try {
      return await task();
    } finally {
      busy--;
    }
  };

  const importKernel = async (path: string, reference: string | undefined, signal: AbortSignal) => {
    const { size } = await stat(path);
    if (size > KERNEL_LIMIT_BYTES)
      throw new SkerryError('image_invalid', `the kernel has ${size} bytes, more than ${KERNEL_LIMIT_BYTES}`);
    const kernel = inspectKernel(await readFile(path));
    const staged = await blobs.stageFile(path, signal);
    await blobs.commit(staged);
    const record: ImageRecord = {
      facts: {
        kind: 'unikernel',
        digest: staged.digest,
        sizeBytes: staged.sizeBytes,
        arch: kernel.arch,
        source: 'import: kernel',
        facts: { ...kernel },
      },
      blobs: [staged.digest],
    };
    return [{ reference: reference ?? basename(path).replace(/\.(elf|bin|img)$/, ''), record }];
  };

  const importFile: ImageStore['importFile'] = (path, { reference, signal, progress }) =>
    writing(async () => {
      const about = await stat(path).catch((cause) => {
        throw new SkerryError('image_not_found', `${path} can not be read: ${(cause as Error).message}`, {
          cause,
        });
      });
      let found: readonly { readonly reference: string | undefined; readonly record: ImageRecord }[];
      const head = about.isDirectory() ? undefined : await headOf(path);
      if (head && head.length >= 4 && head.readUInt32BE(0) === ELF_MAGIC)
        found = await importKernel(path, reference, signal);
      else if (!head || looksLikeTar(head) || looksLikeGzip(head)) {
        const archive = head
          ? await stageTar(path, blobs, signal, (done) => progress?.(done, about.size))
          : await stageFolder(path, blobs, signal);
        found = await importArchive(archive, blobs, signal).finally(() => archive.discard());
      } else {
        throw new SkerryError(
          'image_invalid',
          'the file is not recognised: container archives (docker save, OCI) and unikernels (ELF with a PVH note or multiboot header) are',
        );
      }
      const [only] = found;
      if (reference !== undefined && found.length > 1) {
        throw new SkerryError(
          'request_invalid',
          `the archive has ${found.length} images: they can not all be called ${reference}`,
        );
      }
      const named = found.map((image) => {
        const name = reference ?? image.reference;
        if (!name)
          throw new SkerryError(
            'request_invalid',
            'the archive does not name its image: give it a name with --name',
          );
        return { reference: name, facts: image.record.facts };
      });
      if (!only) throw new SkerryError('image_invalid', 'the archive has no image');
      for (const { record } of found) records.put(record);
      return named;
    });

  return {
    blobPath: (digest) => blobs.path(digest),
    has: (digest) =>
      records.get(digest).then(
        () => true,
        () => false,
      ),
    facts: async (digest) => (await records.get(digest)).facts,
    importFile,
    pull: (reference, options) =>
      writing(async () => {
        const record = await pullImage(blobs, reference, options);
        records.put(record);
        return record.facts;
      }),
    createFunction: (source, filename) =>
      writing(async () => {
        const { lower } = await import('./functions/lower.ts');
        const lowered = lower(source, filename);
        if (Buffer.byteLength(lowered.text) > FUNCTION_LIMIT_BYTES) {
          throw new SkerryError(
            'function_invalid',
            `the lowered function has more than ${FUNCTION_LIMIT_BYTES} bytes`,
          );
        }
        const staged = await blobs.stageText(lowered.text);
        await blobs.commit(staged);
        const facts: ImageFacts = {
          kind: 'function',
          digest: staged.digest,
          sizeBytes: staged.sizeBytes,
          arch: 'amd64',
          source: `function: ${basename(filename)}`,
          facts: {
            exports: [...lowered.exports],
            engine: 'duktape 2.7',
            sourceBytes: Buffer.byteLength(source),
          },
        };
        records.put({ facts, blobs: [staged.digest] });
        return facts;
      }),
    async collect(keep) {
      if (busy > 0) return 0; // the next one takes it
      const needed = new Set<string>();
      for (const digest of await records.digests()) {
        if (!keep.has(digest)) await records.remove(digest);
        else for (const blob of (await records.get(digest)).blobs) needed.add(blob);
      }
      return blobs.collect(needed);
    },
  };
}
