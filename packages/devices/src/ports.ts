/**
 * What the parts of the device room ask of each other. Each is made by one folder and used by the others through these
 * shapes only: `broker/` takes messages, `flow/` leads them through `steps/` into a `queue/` per sink, `sinks/` and
 * `series/` take them out of it, `hub/` puts all together in one process.
 */
import type { Duplex } from 'node:stream';
import type { TailLine } from '@skerry/contract';
import type { StreamSpec } from '@skerry/model';
import type { Item, Message, Refused } from './message.ts';

// Queue -----------------------------------------------------------------------------------------------------------------

export interface QueueEntry {
  readonly id: string;
  /** What keeps its order: the name of a device. */
  readonly key: string;
  /** When it was put in, in milliseconds since 1970: its age counts from here. */
  readonly atMs: number;
  /** 0 to 9; where the queue is full by `priority`, the lowest goes first, and one that is not higher than all others is turned away. */
  readonly priority: number;
  readonly data: Uint8Array;
}
export interface StoredEntry extends QueueEntry {
  /** Rises by one with each entry, over restarts, too; never given twice. The first is 1. */
  readonly position: number;
}
export interface QueueOptions {
  /** Bytes of the folder, on disk. */
  readonly sizeBytes: number;
  /** 0: of any age. */
  readonly ageMs: number;
  /** `wait`: nothing is dropped, `append` refuses; who calls waits for `room`. */
  readonly whenFull: 'oldest' | 'newest' | 'priority' | 'wait';
  readonly now?: () => number;
}
export interface QueueStatus {
  /** Not acknowledged yet. */
  readonly entries: number;
  readonly bytes: number;
  readonly diskBytes: number;
  readonly oldestAtMs?: number;
  readonly lastPosition: number;
  readonly acknowledged: number;
  readonly droppedBySize: number;
  readonly droppedByAge: number;
  /** Entries or bytes that damage took, counted once and passed over. */
  readonly damaged: number;
  /** Written to files since it was opened, for the amplification. */
  readonly writtenBytes: number;
}
/** It takes nothing now: full by `wait`, or the disk takes nothing. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}
/** A durable queue in a folder of its own: one writer, one reader. */
export interface DurableQueue {
  /**
   * Puts entries in, in order; at once in memory and to be read, durable when `sync` after it resolves. Answers the position
   * of the last one; entries that the policy turned away are counted. Full by `wait`: throws `QueueFull` and takes none.
   */
  append(entries: readonly QueueEntry[]): number;
  /** Resolves when all that was appended before is on the disk. Many callers share one fdatasync. */
  sync(): Promise<void>;
  /** Entries after a position, in order, at most so many; what was dropped or damaged is passed over. */
  read(after: number, limits: { readonly count: number; readonly bytes: number }): Promise<StoredEntry[]>;
  /** Resolves when there is an entry after this position (at once if there is), or the signal aborts. */
  more(after: number, signal: AbortSignal): Promise<void>;
  /** All up to here are done with. Kept on the disk a little later: after a crash a few may be read again. */
  acknowledge(upTo: number): void;
  /**
   * Entries after this position stay to be read although they are acknowledged (a checkpoint that is led through again looks
   * for their ids). Remembered as marks are.
   */
  keepFrom(after: number): void;
  /** Resolves when so many bytes may be appended (at once where the policy drops), or the signal aborts. */
  room(bytes: number, signal: AbortSignal): Promise<void>;
  /** Names that only this holder sets: small values that are durable together with what was appended (checkpoints). */
  mark(name: string, value: unknown): void;
  marked(name: string): unknown;
  setOptions(options: QueueOptions): void;
  status(): QueueStatus;
  /** Syncs and closes its files. */
  close(): Promise<void>;
}

// Steps -----------------------------------------------------------------------------------------------------------------

export interface StepContext {
  readonly nowMs: number;
  /** Attributes and labels of a device. Unknown device: undefined. */
  device(name: string):
    | {
        readonly attributes: Readonly<Record<string, unknown>>;
        readonly labels: Readonly<Record<string, string>>;
      }
    | undefined;
  readonly signal: AbortSignal;
}
export interface StepOutcome {
  readonly items: readonly Item[];
  readonly refused: readonly Refused[];
}
/**
 * One step of a stream. Items of one device keep their order. The same items in the same state give the same outcome, ids
 * included: after a crash a stretch is led through again from the last snapshot.
 */
export interface Step {
  readonly kind: string;
  process(items: readonly Item[], context: StepContext): StepOutcome | Promise<StepOutcome>;
  /** Time went on though nothing came: what is due by now comes out. Absent: it never waits for time. */
  tick?(context: StepContext): StepOutcome;
  /** When `tick` has something to do next, in milliseconds since 1970. */
  dueAtMs?(): number | undefined;
  /** It goes: all that it holds comes out, as if it were due. Absent: it holds nothing that would be missed. */
  drain?(context: StepContext): StepOutcome;
  /** State as JSON, bounded; `restore` of it gives the same step. Absent: it has none. */
  snapshot?(): unknown;
  restore?(state: unknown): void;
}

// Sinks -----------------------------------------------------------------------------------------------------------------

/** What a sink is given: an item of which the value is bytes now (JSON text, where it is not bytes already). */
export interface Outgoing {
  readonly id: string;
  readonly project: string;
  readonly device: string;
  readonly topic: string;
  readonly atMs: number;
  readonly payload: Uint8Array;
}
/** Takes what a queue holds. May be given the same message again after a crash: `id` tells. */
export interface Sink {
  readonly kind: string;
  /** How many messages it takes at once, at most. */
  readonly batch: number;
  /** Resolves when all of them are safe at the other side, in order; rejects otherwise, and is asked again later. */
  deliver(batch: readonly Outgoing[], signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
/** A message that the sink will never take, whatever is tried: it is dropped, counted, and the rest goes on. */
export class NeverTaken extends Error {
  override readonly name = 'NeverTaken';
  readonly id: string;
  constructor(id: string, reason: string) {
    super(reason);
    this.id = id;
  }
}

// Broker ----------------------------------------------------------------------------------------------------------------

export interface DeviceIdentity {
  readonly project: string;
  readonly device: string;
}
export interface ConnectRequest {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: Uint8Array;
  /** DER, verified by the listener's authorities only as far as `authenticate` says. */
  readonly certificate?: Uint8Array;
  readonly remoteAddress: string;
}
export type ConnectAnswer =
  | {
      readonly identity: DeviceIdentity;
      readonly messagesPerSecond?: number;
      readonly messageBytes?: number;
      readonly queuedMessages?: number;
    }
  | { readonly refused: 'bad-credentials' | 'not-authorized' | 'unavailable'; readonly reason: string };

/** What the broker asks of who uses it. */
export interface BrokerHooks {
  authenticate(request: ConnectRequest): Promise<ConnectAnswer>;
  /** Of a topic, without the project. */
  mayPublish(identity: DeviceIdentity, topic: string): boolean;
  /** Of a filter, without the project, and without `$share/<group>/`. */
  maySubscribe(identity: DeviceIdentity, filter: string): boolean;
  /**
   * A message that came in. QoS 1 and 2: the acknowledgement leaves when it resolves (it is durable then); a rejection with
   * `Busy` holds the device back or answers "quota exceeded" and loses nothing.
   */
  ingest(message: Message): Promise<void> | undefined;
  connected(identity: DeviceIdentity, clientId: string, remoteAddress: string): void;
  /** `seenAtMs`: its last packet. */
  disconnected(identity: DeviceIdentity, clientId: string, seenAtMs: number): void;
  /** The session of this device, where another node has it: it is brought here before CONNACK. Undefined: there is none. */
  fetchSession?(
    identity: DeviceIdentity,
    clientId: string,
    signal: AbortSignal,
  ): Promise<SessionState | undefined>;
}
/** A session that outlives its connection, as it goes to another node. JSON; payloads in base64. */
export interface SessionState {
  readonly clientId: string;
  readonly subscriptions: readonly {
    readonly filter: string;
    readonly qos: 0 | 1 | 2;
    readonly options?: unknown;
  }[];
  readonly queued: readonly {
    readonly topic: string;
    readonly payload: string;
    readonly qos: 1 | 2;
    readonly expiresAtMs?: number;
    readonly properties?: unknown;
  }[];
  /** Packet identifiers of QoS 2 that were received and not released yet. */
  readonly received: readonly number[];
  readonly expiresAtMs?: number;
}
export interface BrokerListen {
  readonly protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  readonly host: string;
  /** 0: any. */
  readonly port: number;
}
export interface Broker {
  start(): Promise<readonly BrokerListen[]>;
  /** To devices, and to retained messages; never back to `ingest`. QoS 1 and 2: durable for sessions that are away when it resolves. */
  publish(
    project: string,
    message: {
      readonly topic: string;
      readonly payload: Uint8Array;
      readonly qos: 0 | 1 | 2;
      readonly retain: boolean;
    },
  ): Promise<void>;
  /** Ends the connections of a device, for what it was told is true no more. */
  disconnect(identity: DeviceIdentity, reason: 'removed' | 'rotated' | 'moved'): void;
  /** Takes a session out to give it away; it is gone here when `done` is called. */
  exportSession(
    identity: DeviceIdentity,
    clientId: string,
  ): Promise<{ readonly state: SessionState; done(): Promise<void> } | undefined>;
  counts(): Readonly<Record<string, number>>;
  /** A connection that another listener took, MQTT over WebSocket beside HTTP: bytes of MQTT both ways. */
  attach?(stream: Duplex, about: { readonly remoteAddress: string; readonly certificate?: Uint8Array }): void;
  stop(): Promise<void>;
}
/** It can take no more now: nothing of it was taken. */
export class Busy extends Error {
  override readonly name = 'Busy';
}

// What each part has for the flow ----------------------------------------------------------------------------------------

/** Addresses of the instances of a workload that are healthy, those of this node first. */
export interface GuestEndpoints {
  of(
    project: string,
    workload: string,
    port: string | undefined,
  ): readonly {
    readonly uid: string;
    readonly address: string;
    readonly port: number;
    /** At this node: such are asked before others. */
    readonly isHere?: true;
  }[];
}

// Flow ------------------------------------------------------------------------------------------------------------------

/** Counted since it was opened, but for `waiting`, which is what there is; `sent` to all sinks together. */
export interface FlowCounts {
  readonly received: number;
  readonly sent: number;
  readonly waiting: number;
  readonly dropped: number;
  readonly refused: number;
  /** Why a sink takes nothing, or a step can not go on. */
  readonly failing?: string;
}
/** One stream at one node, from its buffer to its sinks. What the hub asks of it. */
export interface Flow {
  /** Resolves when it is durable here (QoS 0: undefined where nothing is to be waited for). Rejects with `Busy`: none of it was taken. */
  take(message: Message): Promise<void> | undefined;
  /** Nothing that was taken is lost; what steps that go held comes out before. Errors: as compiling the stream. */
  configure(spec: StreamSpec): Promise<void>;
  counts(): FlowCounts;
  /** Messages as they pass each place, from now on; what nobody reads is not made. */
  tail(signal: AbortSignal): AsyncIterable<TailLine>;
  /** Lets go of its files; what was acknowledged stays in them and goes on with the next start. */
  close(): Promise<void>;
  /** With all that it has on the disk. */
  remove(): Promise<void>;
}
