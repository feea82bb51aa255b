/**
 * The store port: keys and values with one global revision. Semantics follow etcd v3 (KV, txn, watch, lease), so that an
 * etcd engine maps one to one. Values are JSON text; keys are paths such as `/workloads/default/hello`. Both are
 * well-formed Unicode. Every method's errors are SkerryErrors; of a closed store, `unavailable`.
 */

/** Rises by one with each transaction that wrote; 0 is the empty store. */
export type Revision = number;

export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  /** Number of puts since the key was made; 1 for a new one. */
  readonly version: number;
  readonly lease?: string;
}

/** `modRevision: 0`: the key must not exist. */
export type Compare =
  | { readonly key: string; readonly modRevision: Revision }
  | { readonly key: string; readonly exists: boolean };

/** A key that a transaction puts is named by none of its other operations: etcd refuses that ("duplicate key given in txn request"). */
export type Op =
  | { readonly put: string; readonly value: string; readonly lease?: string }
  | { readonly delete: string }
  | { readonly deletePrefix: string };

export interface TxnResult {
  readonly succeeded: boolean;
  /** Of this transaction if it wrote, else the present one. */
  readonly revision: Revision;
}

export interface ListResult {
  /** In the order of their keys, as UTF-8 bytes. */
  readonly entries: readonly Entry[];
  readonly revision: Revision;
  /** Pass it as `after` for the next page; absent at the end. */
  readonly next?: string;
}

export type WatchEvent =
  | { readonly type: 'put'; readonly entry: Entry; readonly revision: Revision }
  | {
      readonly type: 'delete';
      readonly key: string;
      readonly previous?: string;
      readonly revision: Revision;
    };

export interface WatchBatch {
  readonly revision: Revision;
  readonly events: readonly WatchEvent[];
}

/**
 * Holds keys for as long as somebody keeps it alive. A put that names a lease which has ended is refused, so a holder
 * that was too slow can not write; who must be sure compares the modRevision of its own key in the same transaction.
 */
export interface Lease {
  readonly id: string;
  /** The whole time again, from now. Errors: conflict (it has ended: its keys are gone or going). */
  keepAlive(): Promise<void>;
  /** Resolves when its keys are gone. Errors: store_full (the store goes on trying). */
  revoke(): Promise<void>;
}

/** Counted since the store was opened, or as it is now. Cheap: nothing is scanned. */
export interface StoreStats {
  readonly commits: number;
  readonly txns: number;
  /** Of the files, on disk. */
  readonly bytes: number;
  /** Changes in the change log, and the bytes of their keys and values. */
  readonly logRows: number;
  readonly logBytes: number;
  /** The first whose changes the log still has. */
  readonly oldestRevision: Revision;
}

export interface Store {
  get(key: string): Promise<Entry | undefined>;
  list(prefix: string, options?: { readonly limit?: number; readonly after?: string }): Promise<ListResult>;
  /**
   * Resolves only when durable. Rejected: nothing of it was written.
   * Errors: store_full, store_corrupt, conflict (a put names a lease that has ended), internal (a key put, and named again).
   */
  txn(compare: readonly Compare[], then: readonly Op[], orElse?: readonly Op[]): Promise<TxnResult>;
  /**
   * Events with a revision above `from` (default: the present one), in order, without a gap, one batch per revision.
   * Ends when it is aborted and when the store is closed.
   * Errors, from reading: store_compacted (the log does not have `from`, because it is too old or because this store
   * never was there: list again), watch_too_slow (resume from the last revision read; never a silent skip).
   */
  watch(
    prefix: string,
    options: { readonly from?: Revision; readonly signal: AbortSignal },
  ): AsyncIterable<WatchBatch>;
  /** Its keys are deleted when it expires. `ttlMs`: 1 to 2^31 - 1. A store that is opened again gives each its whole time. */
  lease(ttlMs: number): Promise<Lease>;
  revision(): Promise<Revision>;
  /** Forgets the change log up to and including `before`. */
  compact(before: Revision): Promise<void>;
  stats(): StoreStats;
  close(): Promise<void>;
}
