/**
 * Hears of ends and memory kills from containerd's event stream, and keeps the engine alive: when the stream breaks, the
 * engine is made to run again and everybody is told that events may have been lost.
 *
 *   connecting --our own mark comes back--> listening --stream ends--> connecting
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Any, packAny, type Timestamp, toMillis, unpackAny } from './api.ts';
import type { Engine } from './engine.ts';
import type { Logger } from './logger.ts';

export interface SubscriptionHandlers {
  /** Of a container's first process, never of an `exec`. */
  exited(uid: string, pid: number, code: number, atMs: number): void;
  execExited(execId: string, code: number): void;
  outOfMemory(uid: string, atMs: number): void;
  /** Listening again after a break, perhaps to an engine that was started anew. */
  resync(): void;
}

interface Envelope {
  readonly timestamp: Timestamp;
  readonly topic: string;
  readonly event: Any;
}

const MARK_TOPIC = '/skerry/listening';

export class Subscription {
  readonly #engine: Engine;
  readonly #namespace: string;
  readonly #handlers: SubscriptionHandlers;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;

  constructor(engine: Engine, namespace: string, handlers: SubscriptionHandlers, logger: Logger) {
    this.#engine = engine;
    this.#namespace = namespace;
    this.#handlers = handlers;
    this.#logger = logger;
  }

  /** Resolves once events are surely heard. The engine must run. */
  async start(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: over.signal });
      this.#running = this.#run(resolve);
    }).finally(() => over.abort());
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(firstListening: () => void): Promise<void> {
    const signal = this.#stopped.signal;
    for (let round = 0; !signal.aborted; round++) {
      try {
        await this.#engine.ensurePatiently(signal);
        await this.#listen(() => {
          if (round === 0) firstListening();
          else this.#handlers.resync();
        }, signal);
      } catch (error) {
        if (!signal.aborted) this.#logger.warn({ err: error }, 'the event stream of containerd broke');
      }
      if (!signal.aborted) await delay(20, undefined, { signal }).catch(() => undefined);
    }
  }

  async #listen(onListening: () => void, signal: AbortSignal): Promise<void> {
    const ours = `namespace==${this.#namespace}`;
    const topics = ['/tasks/exit', '/tasks/oom', MARK_TOPIC];
    const filters = topics.map((topic) => `${ours},topic=="${topic}"`);
    const over = new AbortController();
    const mark = randomBytes(8).toString('hex');
    const publishing = this.#publish(mark, AbortSignal.any([signal, over.signal]));
    let listening = false;
    try {
      for await (const { topic, event, timestamp } of this.#engine.client.stream<Envelope>(
        'Events.Subscribe',
        { filters },
        signal,
      )) {
        if (topic === MARK_TOPIC) {
          if (!listening && unpackAny<{ containerId: string }>(event).containerId === mark) {
            listening = true;
            over.abort();
            onListening();
          }
        } else if (topic === '/tasks/oom') {
          this.#handlers.outOfMemory(
            unpackAny<{ containerId: string }>(event).containerId,
            toMillis(timestamp),
          );
        } else {
          const exit = unpackAny<{
            containerId: string;
            pid: number;
            id: string;
            exitStatus: number;
            exitedAt: Timestamp;
          }>(event);
          if (exit.id === exit.containerId)
            this.#handlers.exited(exit.containerId, exit.pid, exit.exitStatus, toMillis(exit.exitedAt));
          else this.#handlers.execExited(exit.id, exit.exitStatus);
        }
      }
    } finally {
      over.abort();
      await publishing;
    }
  }

  /** The stream says nothing when it begins: our own event coming back does. */
  async #publish(mark: string, signal: AbortSignal): Promise<void> {
    const event = packAny('containerd.events.TaskOOM', { containerId: mark });
    for (let waitMs = 1; !signal.aborted; waitMs = Math.min(waitMs * 2, 200)) {
      await this.#engine.client
        .call('Events.Publish', { topic: MARK_TOPIC, event }, { timeoutMs: 2000, signal })
        .catch(() => undefined);
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
