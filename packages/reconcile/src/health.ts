/**
 * Health as a state machine: results go in, the next check and a verdict come out. Pure; it neither waits nor connects.
 *
 *   unknown --first success--> healthy --`failures` bad ones in a row--> unhealthy (the guest is ended and judged)
 *      '--bad ones in a row, after the start period--------------------------^
 */
export interface HealthPolicy {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
  /** From the start: bad results are not counted until it is over, or the first good one came. */
  readonly startPeriodMs: number;
}

export interface HealthState {
  readonly verdict: 'unknown' | 'healthy' | 'unhealthy';
  readonly failuresInRow: number;
  /** Checks made before the first good one. */
  readonly attempts: number;
}

export interface HealthResult {
  readonly ok: boolean;
  /** Since the guest's start. */
  readonly sinceStartMs: number;
}

/** A guest that is ready within a second is seen to be within 10 to 40 ms of it. */
const FIRST_PAUSE_MS = 10;
const PAUSE_GROWTH = 1.1;

export const HEALTH_START: HealthState = { verdict: 'unknown', failuresInRow: 0, attempts: 0 };
/** For a guest that was ready before the agent restarted. */
export const HEALTH_READY: HealthState = { verdict: 'healthy', failuresInRow: 0, attempts: 0 };

export function healthAfter(policy: HealthPolicy, state: HealthState, result: HealthResult): HealthState {
  if (state.verdict === 'unhealthy') return state;
  if (result.ok) return { verdict: 'healthy', failuresInRow: 0, attempts: 0 };
  const attempts = state.attempts + 1;
  if (state.verdict === 'unknown' && result.sinceStartMs < policy.startPeriodMs)
    return { ...state, attempts };
  const failuresInRow = state.failuresInRow + 1;
  const verdict = failuresInRow >= policy.failures ? 'unhealthy' : state.verdict;
  return { verdict, failuresInRow, attempts };
}

/** Until the next check: short at first while it is not ready, then the interval. Undefined: no further check. */
export function nextCheckMs(policy: HealthPolicy, state: HealthState): number | undefined {
  if (state.verdict === 'unhealthy') return undefined;
  if (state.verdict === 'healthy') return policy.intervalMs;
  // 200 tries reach 10 ms * 1.1^200, beyond any interval
  return Math.min(policy.intervalMs, FIRST_PAUSE_MS * PAUSE_GROWTH ** Math.min(state.attempts, 200));
}
