/** The sinks of a stream, each with its queue; and those that it named before, for as long as anything waits there. */
import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@skerry/host';
import type { StreamSink } from '@skerry/model';
import type { Item } from '../message.ts';
import type { Outgoing } from '../ports.ts';
import { queueOptions, SINK_QUEUE } from './limits.ts';
import { Outlet } from './outlet.ts';
import type { FlowOptions } from './parts.ts';

const folderName = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 24);

export interface OutletEvents {
  /** `place`: of the sink in the stream, from 1; 0: the stream names it no more. */
  sent(place: number, batch: readonly Outgoing[]): void;
  refused(message: Outgoing, reason: string): void;
}

export class Outlets {
  readonly #options: FlowOptions;
  readonly #events: OutletEvents;
  readonly #folder: string;
  #named: { key: string; outlet: Outlet }[] = [];
  readonly #former = new Map<string, Outlet>();

  constructor(options: FlowOptions, events: OutletEvents) {
    this.#options = options;
    this.#events = events;
    this.#folder = join(options.folder, 'sinks');
  }

  /** `ends`: where their queues ended at the last checkpoint, by key. */
  async open(specs: readonly StreamSink[], ends: Readonly<Record<string, number>>): Promise<void> {
    for (const [at, spec] of specs.entries()) {
      const key = this.#options.sinkKey(spec);
      // Two sinks of one target share its queue: each message goes there once for each.
      const twin = this.#named.find((one) => one.key === key);
      const outlet = twin?.outlet ?? (await this.#open(spec, key, at + 1, ends[key] ?? 0));
      this.#named.push({ key, outlet });
    }
    const known = new Set(this.#named.map(({ key }) => folderName(key)));
    for (const name of await readdir(this.#folder).catch(() => [] as string[]))
      if (!known.has(name)) await this.#openFormer(name, ends);
  }

  async #open(spec: StreamSink, key: string, place: number, since: number): Promise<Outlet> {
    const { project, now, makeSink, openQueue } = this.#options;
    const folder = join(this.#folder, folderName(key));
    const queue = await openQueue(join(folder, 'queue'), queueOptions(spec.queue, SINK_QUEUE));
    // By it what waits is still sent when the stream names the sink no more.
    writeFileDurably(join(folder, 'sink.json'), `${JSON.stringify({ key, spec })}\n`);
    const sent = (batch: readonly Outgoing[]) => this.#events.sent(place, batch);
    const { refused } = this.#events;
    return Outlet.open({ project, queue, now, sink: makeSink(spec), sent, refused }, since);
  }

  async #openFormer(name: string, ends: Readonly<Record<string, number>>): Promise<void> {
    const folder = join(this.#folder, name);
    const text = await readFile(join(folder, 'sink.json'), 'utf8').catch(() => undefined);
    if (text === undefined) {
      await rm(folder, { recursive: true, force: true }); // made, and never finished: nothing is in it
      return;
    }
    const { key, spec } = JSON.parse(text) as { key: string; spec: StreamSink };
    this.#former.set(key, await this.#open(spec, key, 0, ends[key] ?? 0));
  }

  get #all(): Outlet[] {
    return [...new Set(this.#named.map(({ outlet }) => outlet)), ...this.#former.values()];
  }

  /** Resolves when every sink's queue has them. */
  async put(
    items: readonly Item[],
    priority: (sink: number) => (item: Item) => number,
    signal: AbortSignal,
  ): Promise<void> {
    if (items.length === 0) return;
    await Promise.all(this.#named.map(({ outlet }, at) => outlet.put(items, priority(at), signal)));
  }

  /** Makes durable what was put; where each queue ends then, by key. */
  async sync(): Promise<Record<string, number>> {
    await Promise.all(this.#all.map(({ queue }) => queue.sync()));
    const ends: Record<string, number> = {};
    for (const { key, outlet } of this.#named) ends[key] = outlet.queue.status().lastPosition;
    for (const [key, outlet] of this.#former) ends[key] = outlet.queue.status().lastPosition;
    return ends;
  }
  /** A checkpoint with these ends is durable: what lies before need not be kept for it. */
  checkpointed(ends: Readonly<Record<string, number>>): void {
    for (const { key, outlet } of this.#named) outlet.queue.keepFrom(ends[key] ?? 0);
  }
  settled(): void {
    for (const outlet of this.#all) outlet.settled();
  }

  /** Those that the stream names no more go when nothing waits there. */
  async forgetEmpty(): Promise<void> {
    for (const [key, outlet] of this.#former) {
      if (outlet.queue.status().entries > 0) continue;
      this.#former.delete(key);
      await outlet.close();
      await rm(join(this.#folder, folderName(key)), { recursive: true, force: true });
    }
  }

  status(): { waiting: number; dropped: number; failing?: string } {
    const all = this.#all;
    const told = all.map(({ queue }) => queue.status());
    const failing = all.map((outlet) => outlet.failing).find((reason) => reason !== undefined);
    return {
      waiting: told.reduce((sum, { entries }) => sum + entries, 0),
      dropped: told.reduce((sum, one) => sum + one.droppedBySize + one.droppedByAge + one.damaged, 0),
      ...(failing !== undefined && { failing }),
    };
  }

  async close(): Promise<void> {
    const all = this.#all;
    this.#named = [];
    this.#former.clear();
    await Promise.all(all.map((outlet) => outlet.close()));
  }
}
