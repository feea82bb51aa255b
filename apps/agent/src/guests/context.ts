/** What an actor needs of its agent, and what it may be told. */
import type { DesiredInstance } from '@skerry/contract';
import type { GuestExit, Id, Millis, RuntimeKind } from '@skerry/model';
import type { BackoffPolicy, Clock, Gate } from '@skerry/reconcile';
import type { PreviousLogs } from '@skerry/runtimes';
import type { Engine } from '../engines/engine.ts';
import type { NetworkService } from '../engines/network-service.ts';
import type { HealthNews } from '../health/monitor.ts';
import type { HealthProbe } from '../health/probe.ts';
import type { Leases } from '../lease/leases.ts';
import type { RecordLedger } from '../ledger/record-ledger.ts';
import type { Logger } from '../ports.ts';
import type { NodeParts } from './apply.ts';

/** Host events: they outrank requests. */
export type GuestNews =
  | { readonly type: 'exited'; readonly exit: GuestExit }
  | { readonly type: 'oom' | 'paused' | 'resumed'; readonly message: string }
  /** What is known of the guest may be wrong by now: look again. */
  | { readonly type: 'look' }
  | { readonly type: 'health'; readonly run: number; readonly news: HealthNews }
  | { readonly type: 'wake' };

export interface GuestRequest {
  /** Undefined: it is to be gone. */
  readonly desired: DesiredInstance | undefined;
  readonly hold: boolean;
  /** Overrides the template's time for a graceful stop. */
  readonly graceMs?: Millis;
}

export interface ActorContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly engine: (kind: RuntimeKind) => Engine | undefined;
  readonly networkService: NetworkService;
  readonly parts: NodeParts;
  readonly records: RecordLedger;
  readonly leases: Leases;
  readonly previousLogs?: PreviousLogs;
  readonly starts: Gate;
  readonly stops: Gate;
  /** Called when a start begins; what it returns, when the start is over. */
  readonly duringStart: () => () => void;
  readonly backoff: BackoffPolicy;
  readonly random: () => number;
  readonly healthProbe: HealthProbe;
  /** Aborted when the agent ends: guests stay as they are. */
  readonly ending: AbortSignal;
  readonly tell: (uid: Id<'instance'>, news: GuestNews) => void;
  readonly hasMail: (uid: Id<'instance'>) => boolean;
  readonly reportPresent: (uid: Id<'instance'>, passing: boolean) => void;
  readonly reportAbsent: (uid: Id<'instance'>) => void;
}
