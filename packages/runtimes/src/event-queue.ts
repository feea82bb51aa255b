/** Events to several listeners, each at its own pace and in order. A listener that lets too many wait gets `resync` instead. */
import type { GuestEvent } from './port.ts';

const WAITING_LIMIT = 10_000;

export class EventQueue {
  readonly #listeners = new Set<(event: GuestEvent) => void>();

  emit(event: GuestEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** From now on, until cancelled. */
  listen(signal: AbortSignal): AsyncIterable<GuestEvent> {
    let waiting: GuestEvent[] = [];
    let wake = () => {};
    const listener = (event: GuestEvent) => {
      if (waiting.length < WAITING_LIMIT) waiting.push(event);
      else waiting = [{ type: 'resync' }];
      wake();
    };
    this.#listeners.add(listener); // at once: what happens before the first `next` is not lost
    const abort = () => {
      this.#listeners.delete(listener);
      wake();
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    const listeners = this.#listeners;
    return (async function* () {
      try {
        while (!signal.aborted) {
          const batch = waiting;
          waiting = [];
          yield* batch;
          if (waiting.length > 0 || signal.aborted) continue;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        listeners.delete(listener);
        signal.removeEventListener('abort', abort);
      }
    })();
  }
}
