/** The flows of this node: one for each stream of the directory, each in a folder of its own. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DeviceReport, FeedStream } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Item } from '../message.ts';
import type { Flow } from '../ports.ts';
import type { Directory } from './directory.ts';
import { FlowSlot } from './flow-slot.ts';
import { streamKey } from './ingest.ts';

interface Running {
  readonly uid: string;
  readonly slot: FlowSlot;
}

export class Streams {
  readonly #folder: string;
  readonly #directory: Directory;
  readonly #open: (stream: FeedStream, folder: string) => Promise<Flow>;
  readonly #running = new Map<string, Running>();
  readonly #ending = new Set<Promise<void>>();

  constructor(
    folder: string,
    directory: Directory,
    open: (stream: FeedStream, folder: string) => Promise<Flow>,
  ) {
    this.#folder = join(folder, 'streams');
    this.#directory = directory;
    this.#open = open;
    directory.onChange((changes) => {
      for (const change of changes) {
        if (change.type === 'put' && change.object.kind === 'stream') void this.#want(change.object);
        else if (change.type === 'delete' && change.before.kind === 'stream') this.#remove(change.before);
      }
    });
  }

  /** Resolves when each was tried; what is left of streams that went while the hub was away is removed. */
  async start(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const streams = [...this.#directory.all('stream')];
    const known = new Set(streams.map(({ uid }) => uid));
    for (const name of readdirSync(this.#folder))
      if (!known.has(name)) rmSync(join(this.#folder, name), { recursive: true, force: true });
    await Promise.all(streams.map((stream) => this.#want(stream)));
  }

  slot(key: string): FlowSlot | undefined {
    return this.#running.get(key)?.slot;
  }

  report(): DeviceReport['streams'] {
    return [...this.#running].map(([key, { slot }]) => {
      const [project = '', name = ''] = key.split('/');
      return { project, name, ...slot.counts() };
    });
  }

  /** What another stream of the project sends to it. Resolves when it is durable. Errors: not_found, or `Busy`. */
  async send(project: string, name: string, items: readonly Item[]): Promise<void> {
    const slot = this.slot(streamKey({ project, name }));
    if (!slot) throw new SkerryError('not_found', `the project ${project} has no stream ${name}`);
    await Promise.all(
      items.map(({ id, device, topic, atMs, value }) =>
        slot.take({
          ...{ id, project, device, topic, receivedAtMs: atMs, qos: 1, retain: false },
          payload: value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value) ?? 'null'),
        }),
      ),
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ slot }) => slot.close()));
    await Promise.all(this.#ending);
  }

  async #want(stream: FeedStream): Promise<void> {
    const key = streamKey(stream);
    const found = this.#running.get(key);
    if (found?.uid === stream.uid) return found.slot.wish(stream);
    if (found) this.#remove({ ...stream, uid: found.uid }); // removed and made again meanwhile
    const folder = join(this.#folder, stream.uid);
    const slot = new FlowSlot((one) => this.#open(one, folder));
    this.#running.set(key, { uid: stream.uid, slot });
    await slot.wish(stream);
  }

  #remove(stream: FeedStream): void {
    const key = streamKey(stream);
    const found = this.#running.get(key);
    if (found?.uid !== stream.uid) return;
    this.#running.delete(key);
    const work = found.slot
      .remove()
      .catch(() => undefined) // its folder goes with the next start
      .then(() => rmSync(join(this.#folder, stream.uid), { recursive: true, force: true }));
    this.#ending.add(work);
    void work.finally(() => this.#ending.delete(work));
  }
}
