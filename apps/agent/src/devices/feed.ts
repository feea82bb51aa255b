/**
 * From the controller to the device program: what it tells of devices and streams, in pieces, each durable before the next.
 * While the program does not run (there is no device and no stream) nothing is kept: once it runs, it is told from where it
 * left off.
 */
import type { ControllerLink, FeedItem } from '@skerry/contract';
import type { HubClient } from '@skerry/devices/client';

/** In one request. */
const PIECE = 2000;

export interface FeedOptions {
  readonly node: string;
  /** The program, where it runs. */
  readonly client: () => HubClient | undefined;
  /** There is a device or a stream now, or none any more. */
  readonly wanted: (isWanted: boolean) => void;
}

export class Feed {
  readonly #options: FeedOptions;
  #held: FeedItem[] = [];
  #delivering: Promise<void> = Promise.resolve();

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Goes on until the signal aborts, or fails. */
  async run(link: ControllerLink, signal: AbortSignal): Promise<void> {
    const { node, client } = this.#options;
    this.#held = [];
    const since = (await client()?.standing(signal))?.revision ?? 0;
    const items = link.deviceFeed?.(node, since, signal);
    if (!items) return;
    let failed: unknown;
    for await (const item of items) {
      if (failed) throw failed;
      this.#held.push(item);
      // those that come together go together
      if (this.#held.length === 1 || this.#held.length % PIECE === 0)
        void this.#deliver(signal).catch((error) => {
          failed = error;
        });
    }
  }

  #deliver(signal: AbortSignal): Promise<void> {
    const turn = this.#delivering.then(() => this.#pieces(signal));
    this.#delivering = turn.catch(() => undefined);
    return turn;
  }

  async #pieces(signal: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#held.length > 0) {
      const { client, wanted } = this.#options;
      const program = client();
      if (!program) {
        const isWanted = this.#held.some((item) => item.type === 'put' && item.object.kind !== 'project');
        this.#held = [];
        if (isWanted) wanted(true);
        return;
      }
      const piece = this.#held.slice(0, PIECE);
      const { isWanted } = await program.feed(piece, signal);
      this.#held = this.#held.slice(piece.length);
      if (!isWanted && piece.at(-1)?.type === 'synced' && this.#held.length === 0) wanted(false);
    }
  }
}
