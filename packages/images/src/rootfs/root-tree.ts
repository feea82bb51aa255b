/**
 * What is remembered of a root file system while its archive goes by: where links lead, and the few files that tell what it
 * is. Links are followed as the guest would: inside its root.
 */
import { posix } from 'node:path';

const HOPS = 40; // as the kernel (path_resolution(7))

export class RootTree {
  readonly #links = new Map<string, string>();
  /** Files that somebody may ask for, with their first bytes. */
  readonly #files = new Map<string, Buffer>();

  addLink(name: string, target: string): void {
    this.#links.set(name, target);
  }

  addFile(name: string, head: Buffer): void {
    this.#links.delete(name);
    this.#files.set(name, head);
  }

  /** The link that a name leads through, other than itself. */
  linkAbove(name: string): string | undefined {
    for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
      const above = name.slice(0, at);
      if (this.#links.has(above)) return above;
    }
    return undefined;
  }

  /** Where a name ends up, all links followed; undefined: in a circle. */
  resolve(name: string): string | undefined {
    let done = '';
    let left = name.split('/').filter(Boolean);
    for (let hops = 0; left.length > 0; ) {
      const [part, ...rest] = left;
      const here = posix.join('/', done, part!).slice(1); // `..` of the root is the root
      const target = this.#links.get(here);
      left = rest;
      if (target === undefined) {
        done = here;
        continue;
      }
      if (++hops > HOPS) return undefined;
      if (target.startsWith('/')) done = '';
      left = [...target.split('/').filter(Boolean), ...rest];
    }
    return done;
  }

  /** First bytes of a file, links followed. */
  head(name: string): Buffer | undefined {
    const at = this.resolve(name);
    return at === undefined ? undefined : this.#files.get(at);
  }
}
