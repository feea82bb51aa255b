/**
 * Which images stay on a node that brings them when it needs them: those of its instances, and for a while those that it
 * needed before, so that a step back or a workload that moves to and fro brings nothing twice. The rest is collected.
 */
import type { DesiredState } from '@skerry/contract';
import { asSkerryError, imagesNeeded } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';

/** How long an image stays that nothing needs any more; also after a start of the agent, which does not know since when. */
const KEPT_MS = 10 * 60_000;

export interface ImageKeeperOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Reads `keep` once, when nothing else can bring an image; what is brought afterwards is brought anew. Returns bytes freed. */
  readonly collect: (keep: ReadonlySet<string>) => Promise<number>;
  /** Guests are there that no desired state names: what they are made of is not known. */
  readonly isUnsure: () => boolean;
}

export function imagesOf({ instances }: DesiredState): Set<string> {
  return new Set(instances.flatMap(({ spec }) => imagesNeeded(spec)));
}

export class ImageKeeper {
  readonly #options: ImageKeeperOptions;
  /** Live: what is wished for while a collection begins counts. */
  readonly #keep = new Set<string>();
  #needed: ReadonlySet<string> = new Set();
  /** Since when nothing needs it, monotonic. */
  readonly #idleSince = new Map<string, number>();
  #cancel: (() => void) | undefined;
  #begun = false;
  #closed = false;

  constructor(options: ImageKeeperOptions) {
    this.#options = options;
  }

  /** `states`: all that the node may go by. */
  wish(states: readonly DesiredState[]): void {
    const isFirst = !this.#begun;
    this.#begun = true;
    const needed = new Set(states.flatMap((state) => [...imagesOf(state)]));
    for (const digest of needed) {
      this.#keep.add(digest);
      this.#idleSince.delete(digest);
    }
    const nowMs = this.#options.clock.monotonicMs();
    const left = [...this.#needed].filter((digest) => !needed.has(digest));
    for (const digest of left) this.#idleSince.set(digest, nowMs);
    this.#needed = needed;
    if (isFirst || left.length > 0) this.#later();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  /** One timer, for the last of what is due: a collection that comes a little late costs nothing. */
  #later(): void {
    this.#cancel?.();
    if (!this.#closed) this.#cancel = this.#options.clock.after(KEPT_MS, () => void this.#collect());
  }

  async #collect(): Promise<void> {
    this.#cancel = undefined;
    const { clock, logger, collect, isUnsure } = this.#options;
    if (isUnsure()) return this.#later();
    for (const [digest, sinceMs] of this.#idleSince) {
      if (clock.monotonicMs() - sinceMs < KEPT_MS) continue;
      this.#idleSince.delete(digest);
      this.#keep.delete(digest);
    }
    try {
      const bytes = await collect(this.#keep);
      if (bytes > 0) logger.info({ bytes }, 'images that nothing needs any more were removed');
    } catch (thrown) {
      logger.warn({ err: asSkerryError(thrown) }, 'images could not be collected');
      this.#later();
      return;
    }
    if (this.#idleSince.size > 0) this.#later();
  }
}
