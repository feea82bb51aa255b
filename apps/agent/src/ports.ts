/**
 * What the agent is made of: the ports that its program hands it. The agent opens none of them itself and closes none.
 */
import type { ControllerLink } from '@skerry/contract';
import type { ImageContent, ImageFacts } from '@skerry/images';
import type { Id, NodeStatus } from '@skerry/model';
import type { NodeNetwork } from '@skerry/network';
import type { BackoffPolicy, Clock } from '@skerry/reconcile';
import type { PreviousLogs, Runtime } from '@skerry/runtimes';
import type { Store } from '@skerry/store';
import type { AgentDevices } from './devices/compose.ts';
import type { PostPort } from './handover/post.ts';
import type { HealthProbe } from './health/probe.ts';
import type { LeaseHost } from './lease/port.ts';
import type { NeighbourPort } from './measure/client-watch.ts';
import type { EchoPort } from './measure/round-trips.ts';
import type { AccessInterface } from './measure/sightings.ts';
import type { TcpPort } from './measure/tcp-figures.ts';

/** Takes what pino takes: fields, then a sentence. */
export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export type MachineFacts = Pick<NodeStatus, 'arch' | 'version' | 'kernel' | 'capacity' | 'bootedAt'>;

export interface VolumeRequest {
  readonly uid: Id<'volume'>;
  readonly project: string;
  readonly name: string;
  readonly sizeBytes: number;
}

/** Where the node keeps volumes. Every verb is idempotent. */
export interface NodeVolumes {
  /** Makes the volume where it is missing and returns the folder to mount. Errors: disk_full. */
  ensure(volume: VolumeRequest, signal: AbortSignal): Promise<string>;
  /** As `ensure`, but returns the path of its raw image, for a guest that has disks. Errors: in_use where it is mounted for another. */
  ensureDisk(volume: VolumeRequest, signal: AbortSignal): Promise<string>;
  /** Its data goes. */
  remove(uid: Id<'volume'>, signal: AbortSignal): Promise<void>;
}

export interface AgentOptions {
  readonly nodeName: string;
  /** What must survive: desired state and the record of every guest. Its commits must be durable. */
  readonly ledger: Store;
  readonly runtimes: readonly Runtime[];
  readonly network: NodeNetwork;
  readonly volumes: NodeVolumes;
  readonly images: ImageContent;
  /** Makes sure that an image is here before a guest is made from it. Absent: all images are. Errors: image_not_found, unavailable, disk_full. */
  readonly bringImage?: (digest: string, signal: AbortSignal) => Promise<ImageFacts>;
  /** Removes images but those of `keep`; where images are brought when they are needed. Returns bytes freed. */
  readonly collectImages?: (keep: ReadonlySet<string>) => Promise<number>;
  readonly machine: () => Promise<MachineFacts>;
  /** What the node does while a guest is being started; returns what ends it. */
  readonly duringStart?: () => () => void;
  /** Whether another node answers, as measured from here: instances of one that does not receive nothing new. Absent: all do. */
  readonly reachable?: (node: string) => boolean;
  /** Asks other machines how far they are. Absent: nothing is measured. */
  readonly openEchoes?: () => Promise<EchoPort>;
  /** Absent: by HTTP. */
  readonly postToGuest?: PostPort;
  /** What the kernel knows of clients that answer no echo, by connections of guests. Absent: nothing. */
  readonly tcpRoundTrips?: TcpPort;
  /** Interfaces at which clients are seen, and how. Absent: none are. */
  readonly access?: { readonly interfaces: readonly AccessInterface[]; readonly watch: NeighbourPort };
  /** Devices and streams. Absent: this node has none. */
  readonly devices?: AgentDevices;
  readonly logger: Logger;
  /** Where the log of a guest's run before is kept. Absent: nowhere. */
  readonly previousLogs?: PreviousLogs;
  /** What leases are kept in. Absent: in memory only, for guests that do not outlive the agent. */
  readonly leases?: LeaseHost;
  readonly clock?: Clock;
  /** Absent: the agent goes by its ledger alone, until `connect`. */
  readonly controller?: ControllerLink;
  readonly tuning?: Partial<Tuning>;
}

export interface Tuning {
  /** Guests that are made and started at the same time. */
  readonly concurrentStarts: number;
  /** Guests that are stopped at the same time; they mostly wait. */
  readonly concurrentStops: number;
  readonly restartBackoff: BackoffPolicy;
  /** Starts of the agent that did not get through a desired state before the one before it is taken up. */
  readonly suspectBoots: number;
  /** How long the one before it holds until the suspect one is tried again. */
  readonly holdMs: number;
  /** 0 to 1, for jitter. */
  readonly random: () => number;
  readonly healthProbe: HealthProbe;
}
