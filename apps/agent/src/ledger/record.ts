/**
 * What the agent must know of an instance after its own death: one record each, written by the instance's actor only.
 *
 *   life:  none --start--> starting --process runs--> up --its end was judged--> down --start--> starting
 */
import type { AgentEvent } from '@skerry/contract';
import type { GuestExit, Id, Image, Phase, RuntimeKind } from '@skerry/model';
import type { AttachRequest } from '@skerry/network';

export interface InstanceRecord {
  readonly uid: Id<'instance'>;
  readonly name: string;
  readonly project: string;
  /** The runtime that has the guest: the template may ask for another one by now. */
  runtime: RuntimeKind;
  phase: Phase;
  reason?: string;
  life: 'none' | 'starting' | 'up' | 'down';
  /** Of the last start. */
  incarnation?: string;
  observedGeneration: number;
  /** The `restarts` counter of the last start: tells a requested restart from a changed spec. */
  restartsSeen: number;
  restartCount: number;
  /** Newest first, ten at most. */
  exits: GuestExit[];
  /** When the last end was judged: one that is reported again afterwards, with an earlier time, is known already. */
  judgedAtMs: number;
  /** What is to follow the last end, as long as the incarnation stays the same. */
  verdict: 'start' | 'rest' | 'fail';
  /** Failures in a row, for the backoff. */
  failures: number;
  nextTryAtMs?: number;
  /** What is (or may be) attached on the host. */
  attach?: AttachRequest;
  imageKind?: Image['status']['kind'];
  pid?: number;
  /** What an agent inside says. */
  guestAddresses?: readonly string[];
  startedAtMs?: number;
  startMs?: number;
  readyMs?: number;
  ready: boolean;
  health: 'unknown' | 'healthy' | 'unhealthy';
  /** Not yet acknowledged by the controller; the newest twenty. */
  events: AgentEvent[];
}

export const MAX_EXITS = 10;
export const MAX_PENDING_EVENTS = 20;

export function newRecord(of: {
  readonly uid: Id<'instance'>;
  readonly name: string;
  readonly project: string;
  readonly runtime: RuntimeKind;
}): InstanceRecord {
  return {
    uid: of.uid,
    name: of.name,
    project: of.project,
    runtime: of.runtime,
    phase: 'scheduled',
    life: 'none',
    observedGeneration: 0,
    restartsSeen: 0,
    restartCount: 0,
    exits: [],
    judgedAtMs: 0,
    verdict: 'start',
    failures: 0,
    ready: false,
    health: 'unknown',
    events: [],
  };
}
