/**
 * How long to wait before the next try: doubling, capped, with jitter, forgotten after a stable time. Pure.
 */
export interface BackoffPolicy {
  /** The pause after the first failure. */
  readonly firstMs: number;
  readonly factor: number;
  readonly capMs: number;
  /** What worked for so long before it failed begins anew. */
  readonly resetAfterMs: number;
  /** 0 to 1: the share of a pause that chance may take away, so that many do not try at the same moment. */
  readonly jitter: number;
}

/**
 * Restarts of guests: 250 ms is at once for a person and still leaves a crash loop at four starts in its first second;
 * a minute as the cap keeps a broken guest below a thousandth of a core; a minute of running counts as stable.
 */
export const RESTART_BACKOFF: BackoffPolicy = {
  firstMs: 250,
  factor: 2,
  capMs: 60_000,
  resetAfterMs: 60_000,
  jitter: 0.1,
};

/** Engines and links: what the node itself needs is tried more often. */
export const SERVICE_BACKOFF: BackoffPolicy = {
  firstMs: 250,
  factor: 2,
  capMs: 15_000,
  resetAfterMs: 30_000,
  jitter: 0.2,
};

export interface Backoff {
  /** Failures in a row, this one counted. */
  readonly failures: number;
  readonly delayMs: number;
}

/**
 * `failures`: in a row before this one. `workedMs`: how long it worked before it failed.
 * `random` gives [0, 1).
 */
export function backoffAfter(
  policy: BackoffPolicy,
  failures: number,
  workedMs: number,
  random: () => number = Math.random,
): Backoff {
  const before = workedMs >= policy.resetAfterMs ? 0 : failures;
  // 2^60 is beyond any cap: a larger exponent would only lead to Infinity
  const full = Math.min(policy.capMs, policy.firstMs * policy.factor ** Math.min(before, 60));
  return { failures: before + 1, delayMs: full * (1 - policy.jitter * random()) };
}
