/**
 * One sink of a stream with its queue: what the steps put in goes out in order, as often as it takes. The queue belongs to the
 * sink's target: as long as anything waits there, it is sent there, also when the stream names that sink no more.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { backoffAfter, SERVICE_BACKOFF } from '@skerry/reconcile';
import type { Item } from '../message.ts';
import { type DurableQueue, NeverTaken, type Outgoing, type Sink, type StoredEntry } from '../ports.ts';
import { entryOutgoing, itemEntry } from './encode.ts';

const BATCH_BYTES = 2 ** 20;

export interface OutletOptions {
  readonly project: string;
  readonly queue: DurableQueue;
  readonly sink: Sink;
  readonly now: () => number;
  readonly sent: (batch: readonly Outgoing[]) => void;
  /** It will never be taken. */
  readonly refused: (message: Outgoing, reason: string) => void;
}

export class Outlet {
  readonly #options: OutletOptions;
  readonly #ending = new AbortController();
  /** Ids that stand in the queue after the last checkpoint: what is led through again is not put in twice. */
  #present: Set<string>;
  #failing: string | undefined;
  readonly #ended: Promise<void>;

  private constructor(options: OutletOptions, present: Set<string>) {
    this.#options = options;
    this.#present = present;
    this.#ended = this.#run();
  }

  /** `since`: the end of the queue at the last checkpoint. */
  static async open(options: OutletOptions, since: number): Promise<Outlet> {
    const present = new Set<string>();
    for (let after = since; ; ) {
      const entries = await options.queue.read(after, { count: 10_000, bytes: BATCH_BYTES });
      for (const { id } of entries) present.add(id);
      const last = entries.at(-1);
      if (!last) break;
      after = last.position;
    }
    return new Outlet(options, present);
  }

  get queue(): DurableQueue {
    return this.#options.queue;
  }
  /** Why the last attempt failed; undefined: it did not. */
  get failing(): string | undefined {
    return this.#failing;
  }

  /** Resolves when it is in the queue; a queue that waits is waited for. */
  async put(items: readonly Item[], priorityOf: (item: Item) => number, signal: AbortSignal): Promise<void> {
    const { queue, now } = this.#options;
    for (const item of items) {
      if (this.#present.delete(item.id)) continue;
      const entry = itemEntry(item, priorityOf(item), now());
      for (;;) {
        await queue.room(entry.data.length + 512, signal);
        signal.throwIfAborted();
        try {
          queue.append([entry]);
          break;
        } catch (error) {
          if ((error as Error).name !== 'QueueFull') throw error;
          await queue.sync().catch(() => pause(SERVICE_BACKOFF.firstMs, undefined, { signal }));
        }
      }
    }
  }

  /** All up to the stretch's end was led through again: nothing comes twice from here on. */
  settled(): void {
    this.#present = new Set();
  }

  async #run(): Promise<void> {
    const { queue } = this.#options;
    const { signal } = this.#ending;
    let after = queue.status().acknowledged;
    let failures = 0;
    while (!signal.aborted) {
      await queue.more(after, signal);
      if (signal.aborted) return;
      try {
        const { lastPosition } = queue.status(); // before it is read: what comes meanwhile is for the next turn
        const entries = await queue.read(after, { count: this.#options.sink.batch, bytes: BATCH_BYTES });
        const last = entries.at(-1)?.position ?? lastPosition; // what can not be read was dropped or is damaged
        if (entries.length > 0) await this.#deliver(entries, signal);
        queue.acknowledge(last);
        after = last;
        failures = 0;
        this.#failing = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#failing = (error as Error).message;
        const { failures: now, delayMs } = backoffAfter(SERVICE_BACKOFF, failures, 0);
        failures = now;
        await pause(delayMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #deliver(entries: readonly StoredEntry[], signal: AbortSignal): Promise<void> {
    let batch = entries.map((entry) => entryOutgoing(entry, this.#options.project));
    while (batch.length > 0) {
      try {
        await this.#options.sink.deliver(batch, signal);
        this.#options.sent(batch);
        return;
      } catch (error) {
        if (!(error instanceof NeverTaken)) throw error;
        const never = batch.find(({ id }) => id === error.id);
        if (!never) throw error;
        this.#options.refused(never, error.message);
        batch = batch.filter((message) => message !== never);
      }
    }
  }

  /** What waits stays in the queue. */
  async close(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
    await this.#options.sink.close();
    await this.#options.queue.close();
  }
}
