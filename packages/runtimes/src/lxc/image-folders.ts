/**
 * Root file systems unpacked once for each digest, shared by all guests of them and never written to: guests lie over them, with
 * their own owners where they have user namespaces. One goes when no guest needs it and its image is gone.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from '@skerry/host';
import { type ImageContent, type RootfsFacts, unpackRootfs } from '@skerry/images';
import { SkerryError } from '@skerry/model';

export class ImageFolders {
  readonly #root: string;
  readonly #images: ImageContent;
  readonly #unpacking = new Map<string, Promise<void>>();

  constructor(identity: Identity, images: ImageContent) {
    this.#root = join(identity.dataDir, 'system-images');
    this.#images = images;
  }

  folder(digest: string): string {
    return join(this.#root, digest.replace(':', '-'));
  }

  /** Errors: image_not_found, image_wrong_kind. */
  async facts(digest: string): Promise<RootfsFacts> {
    const { kind, facts } = await this.#images.facts(digest);
    if (kind !== 'rootfs')
      throw new SkerryError(
        'image_wrong_kind',
        `a system container needs a root file system, and the image is a ${kind}`,
      );
    return facts as unknown as RootfsFacts;
  }

  /** Several guests at once wait for the same unpacking. Errors: disk_full, image_invalid, cancelled. */
  async ensure(digest: string, facts: RootfsFacts, signal: AbortSignal): Promise<string> {
    const folder = this.folder(digest);
    for (;;) {
      const running = this.#unpacking.get(digest);
      if (!running) break;
      await running.catch(() => undefined); // it was another's: we try on our own
    }
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    const unpacking = unpackRootfs(this.#images.blobPath(digest), facts, folder, { signal });
    this.#unpacking.set(digest, unpacking);
    try {
      await unpacking;
    } finally {
      this.#unpacking.delete(digest);
    }
    return folder;
  }

  /** Takes away what is in no guest's use and no image any more; `used`: digests. */
  async sweep(used: ReadonlySet<string>): Promise<void> {
    let names: string[];
    try {
      names = readdirSync(this.#root);
    } catch {
      return; // nothing was ever unpacked
    }
    for (const name of names) {
      const digest = name.replace(/\.unpacking$/, '').replace('-', ':');
      if (used.has(digest) || this.#unpacking.has(digest)) continue;
      const stays = !name.endsWith('.unpacking') && (await this.#images.facts(digest).catch(() => undefined));
      if (!stays && !this.#unpacking.has(digest))
        rmSync(join(this.#root, name), { recursive: true, force: true });
    }
  }

  clear(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}
