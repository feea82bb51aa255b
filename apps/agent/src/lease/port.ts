/** What leases need of the machine. */
import type { Id } from '@skerry/model';
import type { HeldLease } from '@skerry/reconcile';

export interface LeaseHost {
  /** This machine since its boot, and this data folder on it: a copy of it elsewhere is another one. */
  readonly holder: string;
  /** Milliseconds since boot, suspended time included; never set by anybody. */
  nowMs(): number;
  /** What an agent before this one held, since the machine's boot. */
  load(): ReadonlyMap<Id<'instance'>, HeldLease>;
  /** There when it returns; gone after a reboot. */
  save(uid: Id<'instance'>, lease: HeldLease): void;
  remove(uid: Id<'instance'>): void;
  /** The process ends when the saved lease does, whatever becomes of the agent. Idempotent. */
  guard(uid: Id<'instance'>, pid: number, signal: AbortSignal): Promise<void>;
}
