/**
 * What a broker knows of a device beyond one connection: its subscriptions, what waits for it, what is on its way. It belongs to
 * one device: another one with the same client id has another session.
 */
import type { DeviceIdentity } from '../ports.ts';
import type { Properties, Qos } from './codec/packets.ts';

export interface Subscription {
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly id?: number;
}
/** A message on its way to devices. */
export interface Delivery {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties?: Properties;
  readonly expiresAtMs?: number;
}
/** One that waits for its device; `number` rises within the session. */
export interface Waiting extends Delivery {
  readonly number: number;
}
/** What a connection is to its session. */
export interface Line {
  readonly version: number;
  /** Bytes that the device has not read yet. */
  readonly unsentBytes: number;
  readonly receiveMaximum: number;
  readonly packetBytes: number;
  send(packet: Buffer): void;
  close(reason: number): void;
}

export const sessionKey = ({ project, device }: DeviceIdentity, clientId: string): string =>
  `${project}/${device}/${clientId}`;

export class Session {
  readonly identity: DeviceIdentity;
  readonly clientId: string;
  readonly key: string;
  /** After the connection; 0: it ends with it. */
  expirySeconds = 0;
  /** Since when it is away, and until when it is kept. */
  expiresAtMs: number | undefined;
  readonly subscriptions = new Map<string, Subscription>();
  /** QoS 2 from the device, not released yet. */
  readonly received = new Set<number>();
  waiting: Waiting[] = [];
  waitingBytes = 0;
  /** By packet identifier: sent, not acknowledged; `released`: PUBREC came. */
  readonly inFlight = new Map<number, { readonly message: Waiting; released: boolean }>();
  nextNumber = 1;
  #nextId = 1;
  line: Line | undefined;

  constructor(identity: DeviceIdentity, clientId: string) {
    this.identity = identity;
    this.clientId = clientId;
    this.key = sessionKey(identity, clientId);
  }

  get persistent(): boolean {
    return this.expirySeconds > 0;
  }
  get queued(): number {
    return this.waiting.length + this.inFlight.size;
  }

  /** A packet identifier that is free. There are 65,535, and never as many in flight. */
  takeId(): number {
    do this.#nextId = this.#nextId === 65_535 ? 1 : this.#nextId + 1;
    while (this.inFlight.has(this.#nextId));
    return this.#nextId;
  }
}
