/**
 * The place of one stream. While its flow is being opened (or can not be: a full disk) messages wait, and none is acknowledged
 * before the flow has it.
 */
import type { FeedStream } from '@skerry/contract';
import { asSkerryError } from '@skerry/model';
import type { Message } from '../message.ts';
import { Busy, type Flow, type FlowCounts } from '../ports.ts';

const NOTHING: FlowCounts = { received: 0, sent: 0, waiting: 0, dropped: 0, refused: 0 };
const MOST_WAITING = 10_000;
const AGAIN_MS = 5000;

export class FlowSlot {
  readonly #open: (stream: FeedStream) => Promise<Flow>;
  #flow: Flow | undefined;
  #turn: Promise<void> = Promise.resolve();
  #wanted: FeedStream | undefined;
  #waiting: { go: () => void; fail: (error: Error) => void }[] = [];
  #trouble: string | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(open: (stream: FeedStream) => Promise<Flow>) {
    this.#open = open;
  }

  /** Resolves when it was tried. The stream that was wished last counts. */
  wish(stream: FeedStream): Promise<void> {
    this.#wanted = stream;
    return this.#next(() => this.#settle());
  }

  take(message: Message): Promise<void> | undefined {
    if (this.#flow) return this.#flow.take(message);
    if (this.#waiting.length >= MOST_WAITING)
      return Promise.reject(new Busy('the stream can not be opened yet'));
    return new Promise<void>((go, fail) => this.#waiting.push({ go, fail })).then(() => this.take(message));
  }

  counts(): FlowCounts {
    const counts = this.#flow?.counts() ?? NOTHING;
    return this.#trouble === undefined ? counts : { ...counts, failing: this.#trouble };
  }

  async *tail(signal: AbortSignal) {
    await this.#turn;
    if (this.#flow) yield* this.#flow.tail(signal);
  }

  close(): Promise<void> {
    return this.#end((flow) => flow.close());
  }

  /** With all that it has on the disk. */
  remove(): Promise<void> {
    return this.#end((flow) => flow.remove());
  }

  #next(work: () => Promise<void>): Promise<void> {
    clearTimeout(this.#again);
    this.#turn = this.#turn.then(work);
    return this.#turn;
  }

  #end(work: (flow: Flow) => Promise<void>): Promise<void> {
    this.#wanted = undefined;
    return this.#next(async () => {
      const flow = this.#flow;
      this.#flow = undefined;
      for (const { fail } of this.#waiting.splice(0)) fail(new Busy('the stream is gone'));
      if (flow) await work(flow);
    });
  }

  async #settle(): Promise<void> {
    const stream = this.#wanted;
    if (!stream) return;
    try {
      if (this.#flow) await this.#flow.configure(stream.spec);
      else this.#flow = await this.#open(stream);
      this.#trouble = undefined;
      for (const { go } of this.#waiting.splice(0)) go();
    } catch (error) {
      this.#trouble = asSkerryError(error).message;
      this.#again = setTimeout(() => {
        if (this.#wanted) void this.wish(this.#wanted);
      }, AGAIN_MS).unref();
    }
  }
}
