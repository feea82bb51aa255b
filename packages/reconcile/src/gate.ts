/**
 * Lets at most so many through at once, in the order of their coming.
 */
import { SkerryError } from '@skerry/model';

export class Gate {
  readonly #limit: number;
  #inside = 0;
  readonly #waiting: { readonly enter: () => void }[] = [];

  constructor(limit: number) {
    if (!(limit >= 1)) throw new RangeError('a gate lets at least one through');
    this.#limit = limit;
  }

  /** Errors: those of `work`; cancelled while waiting for its turn. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(new SkerryError('cancelled', 'cancelled before its turn'));
    if (this.#inside < this.#limit) {
      this.#inside++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        reject(new SkerryError('cancelled', 'cancelled before its turn'));
      };
      const entry = {
        enter: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.push(entry);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next.enter();
    else this.#inside--;
  }
}
