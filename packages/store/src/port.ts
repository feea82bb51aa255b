/**
 * The store port: keys and values with one global revision. Semantics follow etcd v3 (KV, txn, watch, lease), so that an
 * etcd engine maps one to one. Values are JSON text; keys are paths such as `/workloads/default/hello`.
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
  /** In the order of their keys (bytes). */
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

export interface Lease {
  readonly id: string;
  keepAlive(): Promise<void>;
  revoke(): Promise<void>;
}

export interface StoreStats {
  readonly commits: number;
  readonly txns: number;
  readonly bytes: number;
  readonly logRows: number;
  readonly oldestRevision: Revision;
}

export interface Store {
  get(key: string): Promise<Entry | undefined>;
  list(prefix: string, options?: { readonly limit?: number; readonly after?: string }): Promise<ListResult>;
  /** Resolves only when durable. Errors: store_full, store_corrupt. */
  txn(compare: readonly Compare[], then: readonly Op[], orElse?: readonly Op[]): Promise<TxnResult>;
  /**
   * Events with a revision above `from` (default: the present one), in order, without a gap, one batch per revision.
   * Errors: store_compacted (list again), watch_too_slow (never a silent skip).
   */
  watch(
    prefix: string,
    options: { readonly from?: Revision; readonly signal: AbortSignal },
  ): AsyncIterable<WatchBatch>;
  /** Its keys are deleted when it expires. */
  lease(ttlMs: number): Promise<Lease>;
  revision(): Promise<Revision>;
  /** Forgets the change log up to and including `before`. */
  compact(before: Revision): Promise<void>;
  stats(): StoreStats;
  close(): Promise<void>;
}
