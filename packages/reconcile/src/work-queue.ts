/**
 * One worker per key: whatever concerns a thing is done one after the other, things beside each other.
 * A worker takes all that has come for its key: host events first and in their order, then requests; a request replaces
 * an earlier one of its tag that was not taken yet, for requests state a level and events tell of an edge.
 * It knows nothing of what it carries; limits on how many work at once belong to the work (see Gate).
 */
export interface Batch<E, R> {
  readonly events: readonly E[];
  readonly requests: readonly R[];
}

interface Mailbox<E, R> {
  events: E[];
  requests: Map<string, R>;
  working: boolean;
}

export interface WorkQueueOptions<K, E, R> {
  readonly work: (key: K, batch: Batch<E, R>) => Promise<void>;
  /** A worker that throws loses its batch, not its key. */
  readonly onError: (key: K, error: unknown) => void;
}

export class WorkQueue<K, E, R> {
  readonly #options: WorkQueueOptions<K, E, R>;
  readonly #mailboxes = new Map<K, Mailbox<E, R>>();
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(options: WorkQueueOptions<K, E, R>) {
    this.#options = options;
  }

  event(key: K, event: E): void {
    if (this.#closed) return;
    const mailbox = this.#mailbox(key);
    mailbox.events.push(event);
    this.#kick(key, mailbox);
  }

  request(key: K, tag: string, request: R): void {
    if (this.#closed) return;
    const mailbox = this.#mailbox(key);
    mailbox.requests.delete(tag); // the newest goes to the end of the line
    mailbox.requests.set(tag, request);
    this.#kick(key, mailbox);
  }

  /** Whether something waits for this key beyond what its worker has taken. */
  waiting(key: K): boolean {
    const mailbox = this.#mailboxes.get(key);
    return mailbox !== undefined && (mailbox.events.length > 0 || mailbox.requests.size > 0);
  }

  /** Keys that are worked on or wait. */
  get busy(): number {
    return this.#mailboxes.size;
  }

  /** Resolves when nothing waits and nobody works. */
  idle(): Promise<void> {
    if (this.#mailboxes.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Takes nothing more, drops what waits, and resolves when the workers have ended. */
  close(): Promise<void> {
    this.#closed = true;
    for (const mailbox of this.#mailboxes.values()) {
      mailbox.events = [];
      mailbox.requests.clear();
    }
    return this.idle();
  }

  #mailbox(key: K): Mailbox<E, R> {
    let mailbox = this.#mailboxes.get(key);
    if (!mailbox) {
      mailbox = { events: [], requests: new Map(), working: false };
      this.#mailboxes.set(key, mailbox);
    }
    return mailbox;
  }

  #kick(key: K, mailbox: Mailbox<E, R>): void {
    if (mailbox.working) return;
    mailbox.working = true;
    // begins in a later microtask, so that what comes in one go is taken in one batch
    queueMicrotask(() => void this.#drain(key, mailbox));
  }

  async #drain(key: K, mailbox: Mailbox<E, R>): Promise<void> {
    while (mailbox.events.length > 0 || mailbox.requests.size > 0) {
      const batch = { events: mailbox.events, requests: [...mailbox.requests.values()] };
      mailbox.events = [];
      mailbox.requests.clear();
      try {
        await this.#options.work(key, batch);
      } catch (error) {
        this.#options.onError(key, error);
      }
    }
    this.#mailboxes.delete(key);
    if (this.#mailboxes.size > 0) return;
    const waiters = this.#idle;
    this.#idle = [];
    for (const resolve of waiters) resolve();
  }
}
