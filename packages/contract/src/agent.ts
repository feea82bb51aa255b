/**
 * The agent protocol: what a controller tells a node, what a node tells its controller. Transport is elsewhere
 * (in one process: plain calls). Desired state is whole and carries a generation; imperative verbs are counters in it.
 */
import type {
  Bytes,
  GuestStats,
  Id,
  InstanceSpec,
  InstanceStatus,
  LogLine,
  LogOptions,
  NodeStatus,
  ProbeFinding,
} from '@skerry/model';

export interface DesiredInstance {
  readonly uid: Id<'instance'>;
  readonly name: string;
  readonly project: string;
  /** `metadata.generation` of the instance: the agent reports it back as `observedGeneration`. */
  readonly generation: number;
  readonly spec: InstanceSpec;
  /** The guest is to be gone; the controller forgets the instance when the agent reports it absent. */
  readonly deleted: boolean;
}

export interface DesiredVolume {
  readonly uid: Id<'volume'>;
  readonly project: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly deleted: boolean;
}

export interface DesiredState {
  /** Rises with each change; the agent refuses an older one. */
  readonly generation: number;
  readonly instances: readonly DesiredInstance[];
  readonly volumes: readonly DesiredVolume[];
  /** Digests that must stay in the node's content store. */
  readonly images: readonly string[];
}

export type InstanceReport =
  | {
      readonly uid: Id<'instance'>;
      readonly state: 'present';
      readonly status: InstanceStatus;
      readonly events: readonly AgentEvent[];
    }
  | { readonly uid: Id<'instance'>; readonly state: 'absent' };

export interface AgentEvent {
  readonly atMs: number;
  readonly type: 'normal' | 'warning';
  readonly reason: string;
  readonly message: string;
}

export interface VolumeReport {
  readonly uid: Id<'volume'>;
  readonly state: 'ready' | 'absent' | 'failed';
  readonly reason?: string;
}

export interface NodeReport {
  readonly name: string;
  readonly status: Omit<NodeStatus, 'allocated' | 'phase'>;
  /** Bytes that one guest of this runtime costs beyond its memory. Missing: the runtime does not work here. */
  readonly overheadBytes: Readonly<Partial<Record<string, number>>>;
}

/** Asks for leases of instances of which one copy may run at a time (`spec.lease`). */
export interface LeaseRequest {
  /** This machine since its boot: a copy of its data folder elsewhere is another holder. */
  readonly holder: string;
  readonly leases: readonly {
    readonly uid: Id<'instance'>;
    readonly epoch: number;
    /** Whether the lease is held at the moment of asking. */
    readonly holds: boolean;
  }[];
}
/** Counts from the moment before it was asked for. What is not in the answer was not granted. */
export interface LeaseGrant {
  readonly uid: Id<'instance'>;
  readonly forMs: number;
}

/** The controller, as an agent sees it. */
export interface ControllerLink {
  register(report: NodeReport): Promise<void>;
  /** Yields the present desired state, then each later one; intermediate ones may be passed over. */
  desired(node: string, signal: AbortSignal): AsyncIterable<DesiredState>;
  /** Durable when it resolves. */
  report(
    node: string,
    observed: {
      readonly generation: number;
      readonly instances: readonly InstanceReport[];
      readonly volumes: readonly VolumeReport[];
    },
  ): Promise<void>;
  /** In memory on both sides; nothing of it is stored. */
  lease(node: string, request: LeaseRequest): Promise<readonly LeaseGrant[]>;
}

/** A node, as its controller sees it: what is asked on demand and never stored. */
export interface NodeLink {
  logs(uid: Id<'instance'>, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  stats(uid: Id<'instance'>, signal: AbortSignal): Promise<GuestStats>;
  exec(uid: Id<'instance'>, request: NodeExecRequest, signal: AbortSignal): Promise<NodeExecSession>;
  console(
    uid: Id<'instance'>,
    signal: AbortSignal,
  ): Promise<{ readonly output: AsyncIterable<Uint8Array>; write(data: Uint8Array): Promise<void> }>;
  pause(uid: Id<'instance'>, signal: AbortSignal): Promise<void>;
  resume(uid: Id<'instance'>, signal: AbortSignal): Promise<void>;
  snapshots(uid: Id<'instance'>, signal: AbortSignal): Promise<NodeSnapshot[]>;
  takeSnapshot(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<NodeSnapshot>;
  restoreSnapshot(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<void>;
  removeSnapshot(uid: Id<'instance'>, name: string, signal: AbortSignal): Promise<void>;
  growDisk(uid: Id<'instance'>, sizeBytes: Bytes, signal: AbortSignal): Promise<void>;
  setMemory(uid: Id<'instance'>, memoryBytes: Bytes, signal: AbortSignal): Promise<void>;
  /** Path on the node of a socket that speaks VNC. */
  display(uid: Id<'instance'>, signal: AbortSignal): Promise<string>;
  /** A PNG file. */
  screenshot(uid: Id<'instance'>, signal: AbortSignal): Promise<Uint8Array>;
  probe(signal: AbortSignal): Promise<ProbeFinding[]>;
}

export interface NodeSnapshot {
  readonly name: string;
  readonly takenAtMs: number;
  readonly sizeBytes: number;
  readonly withMemory: boolean;
  /** Its file systems were held still meanwhile, by the agent inside. */
  readonly frozen: boolean;
}

export interface NodeExecRequest {
  readonly command: readonly string[];
  readonly terminal: boolean;
  readonly columns?: number;
  readonly rows?: number;
}
export interface NodeExecSession {
  readonly output: AsyncIterable<{ readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array }>;
  write(data: Uint8Array): Promise<void>;
  closeInput(): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  readonly exit: Promise<number>;
  kill(): Promise<void>;
}
