/** Who looks at a stream while data passes. Without anybody it costs a comparison; who is slow misses lines and is told how many. */
import type { TailLine } from '@skerry/contract';
import type { Item } from '../message.ts';

const HELD_LINES = 1000;
const VALUE_CHARACTERS = 1000;

const shown = (value: unknown): string => {
  const text = value instanceof Uint8Array ? `${value.length} bytes` : (JSON.stringify(value) ?? 'null');
  return text.length > VALUE_CHARACTERS ? `${text.slice(0, VALUE_CHARACTERS)}…` : text;
};

interface Looker {
  lines: TailLine[];
  missed: number;
  wake: () => void;
}

export class Tail {
  readonly #lookers = new Set<Looker>();

  get watched(): boolean {
    return this.#lookers.size > 0;
  }

  tell(place: string, item: Item, refused?: string): void {
    if (this.#lookers.size === 0) return;
    const line: TailLine = {
      ...{ atMs: item.atMs, place, device: item.device, topic: item.topic, id: item.id },
      ...{ value: shown(item.value), ...(refused !== undefined && { refused }) },
    };
    for (const looker of this.#lookers) {
      if (looker.lines.length >= HELD_LINES) looker.missed++;
      else looker.lines.push(line);
      looker.wake();
    }
  }

  /** Ends with the signal. */
  async *lines(signal: AbortSignal): AsyncIterable<TailLine> {
    const looker: Looker = { lines: [], missed: 0, wake: () => undefined };
    this.#lookers.add(looker);
    const end = () => looker.wake();
    signal.addEventListener('abort', end);
    try {
      while (!signal.aborted) {
        if (looker.lines.length === 0)
          await new Promise<void>((resolve) => {
            looker.wake = resolve;
            if (signal.aborted) resolve();
          });
        const lines = looker.lines.splice(0);
        const { missed } = looker;
        looker.missed = 0;
        yield* lines;
        const last = lines.at(-1);
        if (missed > 0 && last)
          yield { ...last, place: 'tail', id: '', value: '', refused: `${missed} lines were missed here` };
      }
    } finally {
      signal.removeEventListener('abort', end);
      this.#lookers.delete(looker);
    }
  }
}
