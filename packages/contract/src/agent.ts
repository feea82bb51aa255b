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
import type { DeviceReport, FeedItem, HubCall } from './devices.ts';

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
  /** Absent: the node has no peers and leads nobody to a service. */
  readonly network?: DesiredNetwork;
}

/**
 * Where packets of this node go. Whole, as the rest; kept in the ledger, so that routing lives on without a controller.
 * Peers are in the order of `node`, services in that of `uid`, endpoints in that of `uid`: so a mark of the state tells
 * whether anything is new.
 */
export interface DesiredNetwork {
  /** Every other node whose guests are to be reached from here. Never the node itself. */
  readonly peers: readonly NetworkPeer[];
  readonly services: readonly ServiceRoute[];
  /** Clients at access points of the node's site: how far they are is measured from here. */
  readonly clients?: readonly {
    readonly name: string;
    readonly address: string;
    /** It is known by this one, too. */
    readonly address6?: string;
    /** Where it is attached. */
    readonly accessPoint?: string;
  }[];
  /**
   * Clients of which connections to services may have begun at another node than the one that they come through now: what a
   * node does not know of them it sends on to `next`, a peer. Absent `next`: nobody else can know it.
   */
  readonly moved?: readonly { readonly address: string; readonly next?: string }[];
  /** Of workloads that want to hear of handovers, where their clients came last. */
  readonly handovers?: readonly HandoverNotice[];
  /** Clients are resources of this edge: one that the node has not heard of may be on its way here. */
  readonly expectsClients?: true;
}

/** For the instances of a workload with `onHandover` that run on the node. */
export interface HandoverNotice {
  readonly workloadUid: string;
  /** The latest move of each client, the latest first; what an instance is told, as it is. */
  readonly moves: readonly {
    readonly client: string;
    /** Access points. */
    readonly from: string;
    readonly to: string;
    /** RFC 3339. */
    readonly at: string;
    /** Handovers of the client so far: by it a repetition is known. */
    readonly handovers: number;
  }[];
}

export interface NetworkPeer {
  /** Name of the node. */
  readonly node: string;
  /** IPv4 address at which this node reaches it, outside the overlay: `NodeStatus.underlay`. */
  readonly address: string;
  /** CIDR of its guests: `NodeStatus.subnet`. Meets no other node's. */
  readonly subnet: string;
  /** The same for IPv6, a /64: `NodeStatus.subnet6`. Absent: it has none. */
  readonly subnet6?: string;
}

/** A workload that has ports: one virtual address, the same on every node. */
export interface ServiceRoute {
  /** Of the workload. */
  readonly uid: Id<'workload'>;
  readonly project: string;
  /** Of the workload. The service is `<name>.<project>.edge` in the DNS of every node. */
  readonly name: string;
  /** Virtual IPv4 address: in no node's subnet and of no machine (node subnets are taken from 10.64.0.0/10 and 172.16.0.0/12). */
  readonly address: string;
  /** The same for IPv6, which follows from it. Absent: none of its guests surely has IPv6. */
  readonly address6?: string;
  readonly ports: readonly ServicePort[];
  /** All instances, the node's own among them; without one a connection is refused. */
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface ServicePort {
  readonly name: string;
  /** At the virtual address. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** Of the guest. */
  readonly targetPort: number;
}

export interface ServiceEndpoint {
  /** Of the instance. */
  readonly uid: Id<'instance'>;
  /** Name of the node that it runs on: the node's own name says that it is here. */
  readonly node: string;
  /** IPv4 address of the guest. */
  readonly address: string;
  /** Absent: it may have none, so nobody is led to it by IPv6. */
  readonly address6?: string;
  /**
   * From this node to the instance's node, one way or round trip as long as it is the same for all, in microseconds; 0 for
   * one that is here. Those that differ from the nearest by less than a tenth, or by less than 500 us, count as equals and
   * share; those that are here come before all others.
   */
  readonly latencyUs: number;
  /**
   * As the controller knows it: false takes no new connection and keeps those it has. Of instances that are here the node
   * knows better and goes by itself. An endpoint that is gone from the list loses its connections, too.
   */
  readonly healthy: boolean;
  /**
   * The controller has lost sight of its node, and takes it for healthy neither way. Whoever reaches the node itself leads to it
   * what no other can take.
   */
  readonly lost?: true;
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
/** Round trips to another node, or to a client, over the last questions. */
export interface Measurement {
  readonly kind: 'node' | 'client';
  readonly name: string;
  /** Echoes, or connections that the kernel measures by itself. Absent: echoes. */
  readonly by?: 'icmp' | 'tcp';
  /** There and back, in microseconds. */
  readonly medianUs: number;
  readonly leastUs: number;
  /** Of the questions, 0 to 1. */
  readonly lossShare: number;
  /** Milliseconds since the last question. */
  readonly ageMs: number;
}

/** An address that a node saw at an interface of its own that serves an access point. */
export interface Sighting {
  /** IPv4 or IPv6. */
  readonly address: string;
  readonly accessPoint: string;
  /** Milliseconds since it was seen. */
  readonly ageMs: number;
}

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
  /** Kept in memory only. */
  measure(node: string, measurements: readonly Measurement[]): Promise<void>;
  /** A known client that was seen elsewhere than it is attached is moved. What it is not believed for is no error. */
  sighted(node: string, sightings: readonly Sighting[]): Promise<void>;
  /** Devices, streams and projects: what changed after a revision (0: all), then each later change. Never ends of itself. */
  deviceFeed?(node: string, since: number, signal: AbortSignal): AsyncIterable<FeedItem>;
  /** Presence and counts stay in memory; a reported state is stored. */
  devices?(node: string, report: DeviceReport): Promise<void>;
  /** Asks the device program of another node, for a session that moves. Errors: unavailable, forbidden for any other verb. */
  deviceCall?(node: string, to: string, call: HubCall, signal: AbortSignal): AsyncIterable<unknown>;
  /** A certificate with which the node's device program proves itself to devices. Errors: request_invalid. */
  deviceCertificate?(
    node: string,
    request: { readonly request: string; readonly names: readonly string[] },
  ): Promise<{ readonly certificate: string; readonly authority: string }>;
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
  /** Asks the node's device program; what it answers by verb: `HubCall`. Errors: unavailable where it does not run. */
  hub?(call: HubCall, signal: AbortSignal): AsyncIterable<unknown>;
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
