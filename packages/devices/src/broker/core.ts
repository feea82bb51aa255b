/** What connections ask of the broker. One class implements it; the split keeps a connection readable by itself. */
import type { BrokerHooks, DeviceIdentity } from '../ports.ts';
import type { Connect, Publish, Will } from './codec/packets.ts';
import type { Connection } from './connection.ts';
import type { Counts } from './counts.ts';
import type { BrokerLimits } from './limits.ts';
import type { BrokerMemory } from './memory.ts';
import type { Router } from './router.ts';
import type { Session, Subscription } from './session.ts';

export interface BrokerCore {
  readonly hooks: BrokerHooks;
  readonly limits: BrokerLimits;
  readonly counts: Counts;
  readonly memory: BrokerMemory;
  readonly router: Router;
  drawClientId(): string;
  /** The device's session; a connection that has it ends. */
  openSession(
    identity: DeviceIdentity,
    clientId: string,
    connect: Connect,
  ): Promise<{ readonly session: Session; readonly present: boolean }>;
  attached(session: Session, connection: Connection, will: Will | undefined): void;
  ended(connection: Connection, session: Session | undefined, publishWill: boolean, seenAtMs: number): void;
  setExpiry(session: Session, seconds: number): void;
  /** Resolves when the message is safe; undefined: nobody needs to be waited for. Rejects with Busy: it was not taken. */
  publish(session: Session, packet: Publish): Promise<void> | undefined;
  /** The first part of it alone, once more. */
  ingest(session: Session, packet: Publish): Promise<void> | undefined;
  acknowledged(session: Session, id: number): void;
  released(session: Session, id: number, reason: number): void;
  subscribe(session: Session, filter: string, subscription: Subscription): void;
  unsubscribe(session: Session, filter: string): boolean;
  giveRetained(session: Session, filter: string, subscription: Subscription): void;
}
