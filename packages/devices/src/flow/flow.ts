/**
 * One stream at one node. Messages are taken into a durable queue; from there batches go through the steps, in order, into a
 * durable queue per sink. A checkpoint holds together how far that came: position, state of the steps, ends of the sinks'
 * queues. After a crash the stretch since the checkpoint is led through again; ids are the same, so nothing comes twice.
 *
 *     take -> input queue -> decode -> steps -> outlets (a queue and a sink each)
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { TailLine } from '@skerry/contract';
import type { StreamSpec } from '@skerry/model';
import { backoffAfter, SERVICE_BACKOFF } from '@skerry/reconcile';
import type { Item, Message, Refused } from '../message.ts';
import {
  Busy,
  type DurableQueue,
  type Flow,
  type FlowCounts,
  type Step,
  type StepContext,
  type StepOutcome,
} from '../ports.ts';
import { jsonOf } from '../sinks/names.ts';
import { entryMessage, messageEntry } from './encode.ts';
import { BUFFER, queueOptions } from './limits.ts';
import { Outlets } from './outlets.ts';
import type { Compiled, FlowOptions } from './parts.ts';
import { Tail } from './tail.ts';

const BATCH = { count: 500, bytes: 2 ** 20 } as const;
/**
 * Between two checkpoints, which is what a crash leads through again: the more state the steps have, the longer, so that it
 * costs at most 10 KB a second of writing.
 */
const CHECKPOINT = { leastMs: 200, bytesPerMs: 10, mostMs: 60_000 } as const;

interface Checkpoint {
  readonly position: number;
  /** By place in the stream; `spec` tells whether it is the same step still. */
  readonly steps: readonly { readonly spec: unknown; readonly state: unknown }[];
  /** By the key of a sink, the last position of its queue. */
  readonly ends: Readonly<Record<string, number>>;
}
const NOTHING: Checkpoint = { position: 0, steps: [], ends: {} };
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

export async function openFlow(options: FlowOptions): Promise<Flow> {
  const folder = join(options.folder, 'input');
  const flow = new StreamFlow(
    options,
    await options.openQueue(folder, queueOptions(options.spec.buffer, BUFFER)),
  );
  await flow.open();
  return flow;
}

class StreamFlow implements Flow {
  readonly #options: FlowOptions;
  readonly #input: DurableQueue;
  readonly #outlets: Outlets;
  readonly #tail = new Tail();
  #spec: StreamSpec;
  #compiled: Compiled;
  #position = 0;
  /** Up to here messages may have been led through before. */
  #again = 0;
  /** A batch is on its way: the steps are further than `#position` says. */
  #midway = false;
  /** Since the last checkpoint. */
  #changed = false;
  #checkpointAtMs = 0;
  #checkpointEveryMs: number = CHECKPOINT.leastMs;
  #counts = { received: 0, sent: 0, refused: 0 };
  #failing: string | undefined;
  #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();

  constructor(options: FlowOptions, input: DurableQueue) {
    this.#options = options;
    this.#input = input;
    this.#spec = options.spec;
    this.#compiled = options.compile(options.spec);
    this.#outlets = new Outlets(options, {
      sent: (place, batch) => {
        this.#counts.sent += batch.length;
        if (!this.#tail.watched) return;
        const where =
          place === 0 ? 'to a former sink' : `to ${place} ${Object.keys(this.#spec.to[place - 1] ?? {})[0]}`;
        for (const { payload, ...item } of batch) this.#tail.tell(where, { ...item, value: jsonOf(payload) });
      },
      refused: ({ payload, ...item }, reason) =>
        this.#refuse([{ item: { ...item, value: jsonOf(payload) }, step: 'to', reason }]),
    });
  }

  /** From the last checkpoint. */
  async open(): Promise<void> {
    const checkpoint = (this.#input.marked('checkpoint') as Checkpoint | undefined) ?? NOTHING;
    this.#compiled = this.#options.compile(this.#spec);
    this.#compiled.steps.forEach((step, at) => {
      const had = checkpoint.steps[at];
      if (had?.state !== undefined && same(had.spec, this.#spec.steps?.[at])) step.restore?.(had.state);
    });
    this.#position = checkpoint.position;
    this.#again = this.#input.status().lastPosition;
    this.#midway = false;
    await this.#outlets.open(this.#spec.to, checkpoint.ends);
    this.#ending = new AbortController();
    if (!this.#spec.paused) this.#running = this.#run(this.#ending.signal);
  }

  async #stop(): Promise<void> {
    for (let stopped: Promise<void> | undefined; stopped !== this.#running; ) {
      stopped = this.#running; // it may have begun anew meanwhile
      this.#ending.abort();
      await stopped;
    }
  }

  async take(message: Message): Promise<void> {
    try {
      this.#input.append([messageEntry(message)]);
    } catch (error) {
      if ((error as Error).name === 'QueueFull') throw new Busy((error as Error).message);
      throw error;
    }
    this.#counts.received++;
    await this.#input.sync();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#somethingToDo(signal);
        if (signal.aborted) return;
        await this.#turnOnce(signal);
        this.#failing = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#failing = (error as Error).message; // the disk: steps and sinks have their own repetitions
        await pause(SERVICE_BACKOFF.firstMs, undefined, { signal }).catch(() => undefined);
        if (this.#midway) {
          await this.#outlets.close();
          this.#running = this.#reopened();
          return;
        }
      }
    }
  }
  async #reopened(): Promise<void> {
    await this.open().catch((error: Error) => {
      this.#failing = error.message;
    });
  }

  async #turnOnce(signal: AbortSignal): Promise<void> {
    this.#midway = true;
    await this.#tick(signal);
    const { lastPosition } = this.#input.status(); // before it is read: what comes meanwhile is for the next turn
    const entries = await this.#input.read(this.#position, BATCH);
    const messages = entries.map((entry) => entryMessage(entry, this.#options.project));
    await this.#lead(messages, signal);
    const reached = entries.at(-1)?.position;
    // Where nothing is to be read up to the end, it was dropped or is damaged.
    this.#position = reached ?? Math.max(this.#position, lastPosition);
    if (messages.length > 0) this.#changed = true;
    this.#midway = false;
    if (this.#position >= this.#again) this.#outlets.settled();
    if (this.#changed && this.#options.now() >= this.#checkpointAtMs + this.#checkpointEveryMs)
      await this.#checkpoint();
    await this.#outlets.forgetEmpty();
  }

  /** Until there are messages, or a step or the next checkpoint is due. */
  async #somethingToDo(signal: AbortSignal): Promise<void> {
    const due = this.#compiled.steps.map((step) => step.dueAtMs?.()).filter((at) => at !== undefined);
    if (this.#changed) due.push(this.#checkpointAtMs + this.#checkpointEveryMs);
    if (due.length === 0) return this.#input.more(this.#position, signal);
    const wait = new AbortController();
    const end = () => wait.abort();
    const timer = setTimeout(end, Math.max(0, Math.min(...due) - this.#options.now()));
    signal.addEventListener('abort', end);
    try {
      await this.#input.more(this.#position, wait.signal);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
    }
  }

  #context(signal: AbortSignal): StepContext {
    return { nowMs: this.#options.now(), device: this.#options.device, signal };
  }

  async #tick(signal: AbortSignal): Promise<void> {
    for (const [at, step] of this.#compiled.steps.entries()) {
      const due = step.dueAtMs?.();
      if (due === undefined || due > this.#options.now()) continue;
      const outcome = step.tick?.(this.#context(signal));
      if (!outcome) continue;
      this.#changed = true;
      await this.#through(this.#after(step, at, outcome), at + 1, signal);
    }
  }

  async #lead(messages: readonly Message[], signal: AbortSignal): Promise<void> {
    const items: Item[] = [];
    for (const message of messages) {
      const decoded = this.#compiled.decode(message);
      if ('reason' in decoded) {
        this.#refuse([decoded]);
        continue;
      }
      this.#tail.tell('from', decoded);
      items.push(decoded);
    }
    await this.#through(items, 0, signal);
  }

  async #through(first: readonly Item[], from: number, signal: AbortSignal): Promise<void> {
    let items = first;
    for (const [at, step] of [...this.#compiled.steps.entries()].slice(from)) {
      if (items.length === 0) return;
      items = this.#after(step, at, await this.#patiently(step, items, signal));
    }
    await this.#outlets.put(items, this.#compiled.priority, signal);
  }

  #after(step: Step, at: number, { items, refused }: StepOutcome): readonly Item[] {
    this.#refuse(refused);
    if (this.#tail.watched) for (const item of items) this.#tail.tell(`${at + 1} ${step.kind}`, item);
    return items;
  }

  /** A step that fails (a guest that is away) is asked again for as long as it takes; what comes meanwhile waits. */
  async #patiently(step: Step, items: readonly Item[], signal: AbortSignal): Promise<StepOutcome> {
    for (let failures = 0; ; ) {
      try {
        const outcome = await step.process(items, this.#context(signal));
        signal.throwIfAborted();
        return outcome;
      } catch (error) {
        signal.throwIfAborted();
        this.#failing = `${step.kind}: ${(error as Error).message}`;
        const next = backoffAfter(SERVICE_BACKOFF, failures, 0);
        failures = next.failures;
        await pause(next.delayMs, undefined, { signal });
      }
    }
  }

  #refuse(refused: readonly Refused[]): void {
    for (const one of refused) {
      this.#counts.refused++;
      this.#tail.tell(one.step, one.item, one.reason);
      if (this.#spec.deadLetter !== undefined) this.#options.deadLetter(this.#spec.deadLetter, one);
    }
  }

  /** `spec`: what is restored from it later. */
  async #checkpoint(spec: StreamSpec = this.#spec): Promise<void> {
    const ends = await this.#outlets.sync();
    const steps = this.#compiled.steps.map((step, at) => {
      const of = this.#spec.steps?.[at];
      return same(of, spec.steps?.[at])
        ? { spec: of, state: step.snapshot?.() }
        : { spec: null, state: undefined };
    });
    const checkpoint: Checkpoint = { position: this.#position, steps, ends };
    this.#input.mark('checkpoint', checkpoint);
    await this.#input.sync();
    this.#input.acknowledge(this.#position);
    this.#outlets.checkpointed(ends);
    const bytes = JSON.stringify(checkpoint).length;
    this.#checkpointEveryMs = Math.min(
      CHECKPOINT.mostMs,
      Math.max(CHECKPOINT.leastMs, bytes / CHECKPOINT.bytesPerMs),
    );
    this.#checkpointAtMs = this.#options.now();
    this.#changed = false;
  }

  configure(spec: StreamSpec): Promise<void> {
    const turn = this.#turn.then(() => this.#configure(spec));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
  async #configure(spec: StreamSpec): Promise<void> {
    if (same(spec, this.#spec)) return;
    this.#options.compile(spec); // errors before anything is touched
    await this.#stop();
    if (!this.#midway) await this.#checkpoint();
    await this.#outlets.close();
    // What goes with its state gives out what it holds, by the old way.
    const former = this.#spec;
    this.#spec = { ...former, paused: true };
    await this.open();
    const { signal } = this.#ending;
    for (const [at, step] of this.#compiled.steps.entries()) {
      if (same(former.steps?.[at], spec.steps?.[at])) continue;
      const held = step.drain?.(this.#context(signal));
      if (held) await this.#through(this.#after(step, at, held), at + 1, signal);
    }
    await this.#checkpoint(spec);
    await this.#outlets.close();
    this.#spec = spec;
    this.#input.setOptions(queueOptions(spec.buffer, BUFFER));
    await this.open();
  }

  counts(): FlowCounts {
    const input = this.#input.status();
    const outlets = this.#outlets.status();
    const failing = this.#failing ?? outlets.failing;
    return {
      ...this.#counts,
      waiting: input.lastPosition - this.#position + outlets.waiting,
      dropped: input.droppedBySize + input.droppedByAge + input.damaged + outlets.dropped,
      ...(failing !== undefined && { failing }),
    };
  }

  tail(signal: AbortSignal): AsyncIterable<TailLine> {
    return this.#tail.lines(signal);
  }

  close(): Promise<void> {
    const turn = this.#turn.then(async () => {
      await this.#stop();
      if (!this.#midway && this.#changed) await this.#checkpoint().catch(() => undefined); // else from the last one
      await this.#outlets.close();
      await this.#input.close();
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
  async remove(): Promise<void> {
    await this.close();
    await rm(this.#options.folder, { recursive: true, force: true });
  }
}
