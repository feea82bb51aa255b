/** The last entries of a queue in memory: all that are not on the disk yet, and beyond them so many bytes. */
import type { StoredEntry } from '../ports.ts';

export class Recent {
  readonly #limitBytes: number;
  #entries: StoredEntry[] = [];
  #from = 0;
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  add(entry: StoredEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.data.length;
  }

  /** What is durable up to here may be let go. */
  trim(durable: number): void {
    while (this.#bytes > this.#limitBytes && this.#from < this.#entries.length) {
      const entry = this.#entries[this.#from]!;
      if (entry.position > durable) break;
      this.#bytes -= entry.data.length;
      this.#from++;
    }
    if (this.#from > 1024 && this.#from * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#from);
      this.#from = 0;
    }
  }

  get(position: number): StoredEntry | undefined {
    let [low, high] = [this.#from, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.position < position) low = middle + 1;
      else high = middle;
    }
    const found = this.#entries[low];
    return found?.position === position ? found : undefined;
  }
}
