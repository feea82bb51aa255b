/**
 * The records of all instances in the store. Saves are gathered for a moment, so that a start of a guest does not wait for
 * the disk at each of its steps; where a record must be durable before the next step, its actor asks for `flush`.
 * A record that could not be written stays due and is tried again.
 */
import { asSkerryError, type Id } from '@skerry/model';
import { backoffAfter, type Clock, SERVICE_BACKOFF } from '@skerry/reconcile';
import type { Op, Store } from '@skerry/store';
import type { Logger } from '../ports.ts';
import { listAll } from './list-all.ts';
import type { InstanceRecord } from './record.ts';

/**
 * A guest starts within this time more often than not. What a crash takes with it is found again by looking: the desired
 * state says what may be there, the runtime what is.
 */
const GATHER_MS = 50;
const PREFIX = '/ledger/record/';

export class RecordLedger {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Latest JSON that is not durable yet; null: to be deleted. */
  #due = new Map<Id<'instance'>, string | null>();
  #writing: Promise<void> | undefined;
  #failures = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(store: Store, clock: Clock, logger: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
  }

  async load(): Promise<InstanceRecord[]> {
    return (await listAll(this.#store, PREFIX)).map((entry) => JSON.parse(entry.value) as InstanceRecord);
  }

  /** The record as it is now will be durable soon; `flush` tells when. */
  save(record: InstanceRecord): void {
    this.#due.set(record.uid, JSON.stringify(record));
    this.#cancelTimer ??= this.#flushIn(GATHER_MS);
  }

  /** Durable when it resolves. Errors: store_full. */
  async remove(uid: Id<'instance'>): Promise<void> {
    this.#due.set(uid, null);
    await this.flush();
  }

  /** Resolves when all that was saved before is durable. Errors: store_full, store_corrupt. */
  async flush(): Promise<void> {
    if (this.#writing) await this.#writing.catch(() => undefined); // its own caller hears of it; ours is in the next one
    if (this.#due.size === 0 && !this.#writing) return;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
  }

  /** No timer is left behind. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  async #write(): Promise<void> {
    this.close(); // all that waits goes along
    const batch = this.#due;
    this.#due = new Map();
    const ops: Op[] = [...batch].map(([uid, value]) =>
      value === null ? { delete: PREFIX + uid } : { put: PREFIX + uid, value },
    );
    try {
      await this.#store.txn([], ops);
      this.#failures = 0;
    } catch (thrown) {
      for (const [uid, value] of batch) if (!this.#due.has(uid)) this.#due.set(uid, value);
      this.#retryLater(thrown);
      throw thrown;
    }
  }

  #retryLater(thrown: unknown): void {
    const next = backoffAfter(SERVICE_BACKOFF, this.#failures, 0);
    this.#failures = next.failures;
    this.#logger.warn(
      { err: asSkerryError(thrown), retryInMs: next.delayMs },
      'the ledger could not be written',
    );
    this.#cancelTimer?.();
    this.#cancelTimer = this.#flushIn(next.delayMs);
  }

  #flushIn(delayMs: number): () => void {
    return this.#clock.after(delayMs, () => {
      this.#cancelTimer = undefined;
      void this.flush().catch(() => undefined); // a failure has set the timer for the next try
    });
  }
}
