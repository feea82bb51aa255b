/**
 * What a node says of a guest: how it ended, how it is, what it uses. Shared by agent, contract and CLI.
 */

/** Why a guest ended, in one word that programs may compare. */
export const EXIT_REASONS = [
  'completed', // by itself, code 0
  'error', // by itself, another code
  'oom', // the kernel ended it: over its memory limit
  'panic', // the guest's own kernel gave up
  'signal', // by a signal that nobody here sent
  'stopped', // it was asked to, and did
  'killed', // it was asked to stop, did not, and was forced
  'unhealthy', // its health check failed too often
  'start-failed', // it never ran
  'vanished', // it is gone and nobody saw it end (power cut, engine lost)
  'replaced', // its spec changed
  'requested', // a person asked for a restart
] as const;
export type ExitReason = (typeof EXIT_REASONS)[number];

export interface GuestExit {
  readonly reason: ExitReason;
  readonly code?: number;
  readonly signal?: string;
  /** A sentence for people: `used more than its 64MiB of memory`. */
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/** Sampled on request, never stored. Counters rise from the guest's start. */
export interface GuestStats {
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes?: number;
  readonly pids?: number;
  readonly rxBytes?: number;
  readonly txBytes?: number;
  readonly diskBytes?: number;
}

export interface LogLine {
  readonly atMs: number;
  readonly stream: 'stdout' | 'stderr' | 'console';
  readonly text: string;
}

export interface LogOptions {
  /** The last so many lines; all that is kept where absent. */
  readonly tail?: number;
  readonly follow?: boolean;
  readonly sinceMs?: number;
  /** What it wrote in the run before this one; nothing where there was none. Does not go with `follow`. */
  readonly previous?: boolean;
}

/** One finding of a probe: what works on this node and, where not, why and what to do about it. */
export interface ProbeFinding {
  /** Stable: `container`, `unikernel.acceleration`, `network.nftables`. */
  readonly name: string;
  readonly ok: boolean;
  /** `degraded`: works, but worse than it could. */
  readonly level: 'ok' | 'degraded' | 'missing';
  readonly text: string;
  readonly remedy?: string;
}
