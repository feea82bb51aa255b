/**
 * A file system in memory that loses power: what was not synced is gone, wholly, or but for a part that happened to reach the disk.
 * A name is durable when its folder was synced. For tests.
 */
import { basename, dirname } from 'node:path';
import type { QueueFiles } from '../files.ts';

interface Node {
  /** As a program sees it. */
  bytes: Buffer;
  /** As the disk has it. */
  durable: Buffer;
}

export class LossyFiles implements QueueFiles {
  #names = new Map<string, Node>();
  #durableNames = new Map<string, Node>();
  /** Set: nothing reaches the disk from here on. */
  full = false;
  /** Set: whoever still holds a file of before the power cut writes to nowhere. */
  #age = 0;

  /** `share`: 0 to 1, of what was not synced. */
  cutPower(share: number): void {
    this.#age++;
    const fresh = new Map<string, Node>();
    const nodes = new Map<Node, Node>();
    for (const [path, node] of this.#durableNames) {
      let kept = nodes.get(node);
      if (!kept) {
        const extra = Math.floor(Math.max(0, node.bytes.length - node.durable.length) * share);
        const bytes = Buffer.concat([
          node.durable,
          node.bytes.subarray(node.durable.length, node.durable.length + extra),
        ]);
        kept = { bytes: Buffer.from(bytes), durable: Buffer.from(bytes) };
        nodes.set(node, kept);
      }
      fresh.set(path, kept);
    }
    this.#names = fresh;
    this.#durableNames = new Map(fresh);
    this.full = false;
  }

  async prepare(): Promise<void> {}
  async list(folder: string): Promise<string[]> {
    return [...this.#names.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path));
  }
  async open(path: string) {
    const age = this.#age;
    const gone = () => {
      if (age !== this.#age) throw new Error('the power is gone');
    };
    let node = this.#names.get(path);
    if (!node) {
      if (this.full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      node = { bytes: Buffer.alloc(0), durable: Buffer.alloc(0) };
      this.#names.set(path, node);
    }
    const file = node;
    return {
      write: async (data: Uint8Array, at: number) => {
        gone();
        if (this.full) {
          // Half of it fits.
          const half = data.subarray(0, data.length >> 1);
          file.bytes = Buffer.concat([file.bytes.subarray(0, at), half]);
          throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        }
        file.bytes = Buffer.concat([file.bytes.subarray(0, at), data, file.bytes.subarray(at + data.length)]);
      },
      read: async (at: number, bytes: number) => {
        gone();
        return Buffer.from(file.bytes.subarray(at, at + bytes));
      },
      size: async () => file.bytes.length,
      truncate: async (bytes: number) => {
        gone();
        file.bytes = Buffer.from(file.bytes.subarray(0, bytes));
      },
      sync: async () => {
        gone();
        file.durable = Buffer.from(file.bytes);
      },
      close: async () => undefined,
    };
  }
  async remove(path: string): Promise<void> {
    this.#names.delete(path);
    this.#durableNames.delete(path); // at once: the worst for who removes too early
  }
  async rename(from: string, to: string): Promise<void> {
    const node = this.#names.get(from);
    if (!node) return;
    this.#names.delete(from);
    this.#names.set(to, node);
  }
  async syncFolder(folder: string): Promise<void> {
    for (const path of [...this.#durableNames.keys()])
      if (dirname(path) === folder && !this.#names.has(path)) this.#durableNames.delete(path);
    for (const [path, node] of this.#names) if (dirname(path) === folder) this.#durableNames.set(path, node);
  }
}
