/**
 * The one connection to a guest's agent, which takes no second: shared by all who ask it something at a time, and closed
 * when nobody does. While file systems are held still the agent does nothing else: who wants more waits.
 */
import { GuestAgent } from './guest-agent.ts';

export class AgentLine {
  readonly #path: string;
  #connection: Promise<GuestAgent> | undefined;
  #users = 0;
  #held: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Errors: guest_unresponsive, and those of the task. */
  async use<T>(task: (agent: GuestAgent) => Promise<T>): Promise<T> {
    this.#users++;
    try {
      return await task(await this.#connected());
    } finally {
      if (--this.#users === 0) this.#close();
    }
  }

  #connected(): Promise<GuestAgent> {
    const before = this.#connection;
    const next = (async () => {
      const known = await before?.catch(() => undefined);
      return known && !known.isClosed ? known : GuestAgent.connect(this.#path);
    })();
    next.catch(() => undefined);
    this.#connection = next;
    return next;
  }

  #close(): void {
    void this.#connection?.then(
      (agent) => agent.close(),
      () => undefined,
    );
    this.#connection = undefined;
  }

  /** Until it is over, `free` waits. */
  async hold<T>(task: () => Promise<T>): Promise<T> {
    const work = task();
    const held = work.then(
      () => undefined,
      () => undefined,
    );
    this.#held = held;
    try {
      return await work;
    } finally {
      if (this.#held === held) this.#held = undefined;
    }
  }

  /** The file systems of the guest are not held still by us. */
  async free(): Promise<void> {
    await this.#held;
  }
}
