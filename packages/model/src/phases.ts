/**
 * The phases of an instance as a table: what each means, and which moves are legal.
 * API guards, the CLI and the documentation derive from it.
 *
 *   pending -> scheduled -> starting -> running -> stopping -> stopped
 *                  ^            |          |                      |
 *                  |            v          v                      |
 *                  +-------- backoff <- (exit)       failed <-----+   lost: its node does not answer
 */
export interface PhaseDefinition {
  readonly text: string;
  readonly next: readonly Phase[];
  /** Whether a guest may exist on the node in this phase. */
  readonly guest: boolean;
  /** Whether the instance takes up the node's resources in this phase. */
  readonly holdsResources: boolean;
}

export const PHASE_NAMES = [
  'pending',
  'scheduled',
  'starting',
  'running',
  'backoff',
  'stopping',
  'stopped',
  'failed',
  'lost',
] as const;
export type Phase = (typeof PHASE_NAMES)[number];

export const PHASES = {
  pending: {
    text: 'waits for a node',
    next: ['scheduled', 'failed', 'stopping'],
    guest: false,
    holdsResources: false,
  },
  scheduled: {
    text: 'has a node that has not begun yet',
    next: ['starting', 'stopping', 'stopped', 'failed', 'lost'],
    guest: false,
    holdsResources: true,
  },
  starting: {
    text: 'its guest is being made or is not ready yet',
    next: ['running', 'backoff', 'stopping', 'stopped', 'failed', 'lost'],
    guest: true,
    holdsResources: true,
  },
  running: {
    text: 'its guest runs and, where a health check is given, is ready',
    next: ['starting', 'backoff', 'stopping', 'stopped', 'failed', 'lost'],
    guest: true,
    holdsResources: true,
  },
  backoff: {
    text: 'its guest ended; it will be started again after a pause',
    next: ['starting', 'stopping', 'stopped', 'failed', 'lost'],
    guest: true,
    holdsResources: true,
  },
  stopping: {
    text: 'its guest was asked to stop',
    next: ['starting', 'stopped', 'failed', 'lost'],
    guest: true,
    holdsResources: true,
  },
  stopped: {
    text: 'its guest ended as wanted',
    next: ['starting', 'stopping', 'failed', 'lost'],
    guest: false,
    holdsResources: true,
  },
  failed: {
    text: 'it can not run, or ended and is not to be started again',
    next: ['starting', 'stopping', 'stopped', 'lost'],
    guest: false,
    holdsResources: true,
  },
  lost: {
    text: 'its node does not answer',
    next: ['starting', 'running', 'backoff', 'stopping', 'stopped', 'failed'],
    guest: true,
    holdsResources: true,
  },
} as const satisfies Record<Phase, PhaseDefinition>;

export function mayMove(from: Phase, to: Phase): boolean {
  return from === to || (PHASES[from].next as readonly Phase[]).includes(to);
}
