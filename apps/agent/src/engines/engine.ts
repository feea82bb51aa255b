/**
 * One runtime, kept going: started, listened to, and started again with growing pauses when it fails. An engine that is
 * down takes neither the agent nor its own guests down; its instances wait and show why.
 */
import { formatMillis, SkerryError } from '@skerry/model';
import { type Clock, supervise } from '@skerry/reconcile';
import type { GuestEvent, Runtime } from '@skerry/runtimes';
import type { Logger } from '../ports.ts';

export interface EngineOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly onEvent: (event: GuestEvent) => void;
  /** It works, or no longer does. */
  readonly onChange: (engine: Engine) => void;
}

export class Engine {
  readonly runtime: Runtime;
  readonly #options: EngineOptions;
  /** Undefined: it works. */
  trouble: string | undefined = 'the engine has not been started yet';
  tried = false;
  #resolveFirstTry: () => void = () => {};
  /** Resolves after the first try, however it went. */
  readonly firstTry = new Promise<void>((resolve) => {
    this.#resolveFirstTry = resolve;
  });

  constructor(options: EngineOptions) {
    this.#options = options;
    this.runtime = options.runtime;
  }

  get up(): boolean {
    return this.trouble === undefined;
  }

  /** Goes on until `signal` is aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { runtime, clock, logger, random } = this.#options;
    await supervise({
      clock,
      signal,
      random,
      run: (up) => this.#attempt(signal, up),
      onDown: (error, retryInMs) => {
        this.trouble = `the engine of the runtime ${runtime.kind} does not answer: ${error?.message ?? 'it ended'}; next try in ${formatMillis(retryInMs)}`;
        logger.warn({ err: error, runtime: runtime.kind, retryInMs }, 'the engine is down');
        this.#endFirstTry();
        this.#options.onChange(this);
      },
    });
    this.#endFirstTry();
  }

  async #attempt(signal: AbortSignal, up: () => void): Promise<void> {
    const { runtime, onEvent, onChange } = this.#options;
    await runtime.start(signal);
    const listening = new AbortController();
    const events = runtime.events(AbortSignal.any([signal, listening.signal]))[Symbol.asyncIterator]();
    try {
      let next = events.next(); // listens before anything is recovered: an end in between is heard
      up();
      this.trouble = undefined;
      this.#endFirstTry();
      onChange(this);
      for (let item = await next; !item.done; item = await next) {
        next = events.next();
        onEvent(item.value);
      }
    } finally {
      listening.abort();
    }
    throw new SkerryError('engine_unavailable', 'it no longer tells of its guests');
  }

  #endFirstTry(): void {
    this.tried = true;
    this.#resolveFirstTry();
  }
}
