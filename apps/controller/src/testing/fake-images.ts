/** An image store for tests: knows images by the text of the file, pulls when it is told to. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ImageFacts, ImageStore } from '@skerry/images';
import { SkerryError } from '@skerry/model';

export interface FakeImages extends ImageStore {
  readonly kept: ReadonlySet<string>[];
  /** A pull waits for this. */
  gate: Promise<void>;
  readonly pulls: { reference: string; auth: unknown }[];
}

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
export const factsOf = (
  text: string,
  kind: ImageFacts['kind'] = 'container',
  source = 'import',
): ImageFacts => ({
  kind,
  digest: digestOf(text),
  sizeBytes: text.length,
  source,
  facts: {},
});

/** What a file is, by how its text begins; any other is a container. */
const KINDS: readonly (readonly [string, ImageFacts['kind']])[] = [
  ['ELF', 'unikernel'],
  ['DISK', 'disk'],
  ['CPIO', 'initramfs'],
];

export function createFakeImages(): FakeImages {
  const kept: ReadonlySet<string>[] = [];
  const pulls: { reference: string; auth: unknown }[] = [];
  return {
    kept,
    pulls,
    gate: Promise.resolve(),
    blobPath: () => '/nowhere',
    has: async () => true,
    facts: async () => factsOf(''),
    manifest: async () => ({ facts: factsOf(''), blobs: [] }),
    fetch: async () => factsOf(''),
    async importFile(path, { reference }) {
      const text = await readFile(path, 'utf8');
      if (text === 'rubbish')
        throw new SkerryError('image_invalid', 'the file is neither an archive nor a kernel');
      const [, kind = 'container'] = KINDS.find(([begin]) => text.startsWith(begin)) ?? [];
      const facts = {
        ...factsOf(text, kind),
        facts: text.startsWith('ELF linux') ? { family: 'linux' } : {},
      };
      return [{ reference: reference ?? 'unnamed:latest', facts }];
    },
    async pull(reference, { signal, progress, auth }) {
      pulls.push({ reference, auth });
      progress?.(1, 4);
      const gone = new Promise<never>((_, reject) => {
        signal.addEventListener(
          'abort',
          () => reject(new SkerryError('cancelled', 'the pull was given up')),
          { once: true },
        );
      });
      await Promise.race([this.gate, gone]);
      if (reference.includes('broken'))
        throw new SkerryError('registry_unavailable', 'the registry answered 500');
      return factsOf(reference, 'container', `pull ${reference}`);
    },
    async createFunction(source) {
      if (source.includes('async')) {
        throw new SkerryError('function_invalid', 'async functions can not be lowered', {
          details: { line: 1, column: 1 },
        });
      }
      return factsOf(source, 'function', 'function');
    },
    async collect(keep) {
      kept.push(keep);
      return 42;
    },
  };
}
