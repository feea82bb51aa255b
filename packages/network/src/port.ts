/**
 * The node network as the agent sees it. One implementation on Linux (bridge, nftables, tc, dnsmasq) and one for `sim`.
 * Every verb is idempotent: the agent may repeat it after a crash.
 */
import type { BitsPerSecond, Id, ProbeFinding } from '@skerry/model';

export interface PublishedPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** A port of the node, on all its addresses and on loopback (of IPv4), that leads to `port` of the guest. */
  readonly publish?: number;
}

export interface CardRequest {
  /** A name that the node gives to a bridge of its operator. */
  readonly network: string;
  readonly mac: string;
  /** IPv4 with the length of its prefix; absent: the guest asks by DHCP. The bridge does not check it. */
  readonly address?: string;
}
export interface Card extends CardRequest {
  /** Its tap. */
  readonly device: string;
}

export interface AttachRequest {
  readonly uid: Id<'instance'>;
  /** DNS name of the guest on the node network: the instance's name. */
  readonly hostname: string;
  /** `netns`: a network namespace with eth0 inside, for containers; `tap`: a tap device, for guests with their own kernel. */
  readonly kind: 'netns' | 'tap';
  readonly slot: number;
  readonly address: string;
  /** In `NodeNetwork.subnet6`. Absent: it has no IPv6, and nothing of it passes. */
  readonly address6?: string;
  readonly mac: string;
  readonly ports: readonly PublishedPort[];
  /** Of a `tap`: further cards, each on a network of the node that has a name. */
  readonly cards?: readonly CardRequest[];
  readonly bandwidth?: { readonly inBps?: BitsPerSecond; readonly outBps?: BitsPerSecond };
}

export interface Addressing6 {
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
  /** Of the gateway: the way to it needs no asking. */
  readonly gatewayMac: string;
}

interface Addressing {
  readonly uid: Id<'instance'>;
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
  readonly dns: string;
  readonly mac: string;
  readonly mtu: number;
  /** Absent: the guest has no IPv6, or the node has none. */
  readonly v6?: Addressing6;
}
export type Attachment =
  | (Addressing & { readonly kind: 'netns'; readonly netns: string; readonly path: string })
  | (Addressing & { readonly kind: 'tap'; readonly device: string; readonly cards?: readonly Card[] });

/** Another node whose guests are to be reached from here. */
export interface OverlayPeer {
  readonly node: string;
  /** IPv4 address of the node outside the overlay. */
  readonly address: string;
  /** CIDR of its guests. */
  readonly subnet: string;
  /** A /64: the same for IPv6. Absent: they have none. */
  readonly subnet6?: string;
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** Of the guest. */
  readonly targetPort: number;
}

export interface ServiceBackend {
  readonly uid: Id<'instance'>;
  /** IPv4 address of the guest, here or at a peer. */
  readonly address: string;
  /** Absent: nobody is led to it by IPv6. */
  readonly address6?: string;
  /** The lowest tier that has an open backend receives; those of one tier share. 0 and up. */
  readonly tier: number;
  /** False: it takes no new connection and keeps those it has. */
  readonly open: boolean;
}

export interface NetworkService {
  readonly uid: string;
  /** DNS names, whole: `web.default.edge`. */
  readonly names: readonly string[];
  /** Virtual IPv4 address; no machine has it. */
  readonly address: string;
  /** The same of IPv6: reached and named only where a backend has an address of IPv6. */
  readonly address6?: string;
  readonly ports: readonly ServicePort[];
  readonly backends: readonly ServiceBackend[];
}

/** What is known of clients, each by its IPv4 or IPv6 address, so that their connections live on when they come or go. */
export interface ClientPaths {
  /** Of those that are at this node. */
  readonly here: readonly string[];
  /**
   * Those whose connections may have begun at another node; `next` is the name of the peer to which is sent on what is not
   * known here. Absent: there is none, for what is sent here began here or nowhere.
   */
  readonly moved: readonly { readonly address: string; readonly next?: string }[];
  /** Whether a client that is none of these may come at any moment, and be told of right after. */
  readonly othersMayCome: boolean;
  /** Names of the peers that it may come from, at most a few: they are asked, as long as nobody tells. */
  readonly neighbours?: readonly string[];
}

export interface NodeNetwork {
  /** CIDR of the node network, chosen once per data folder so that it meets no address or route of the host. */
  readonly subnet: string;
  /** The /64 of IPv6 beside it. Undefined: the host has no IPv6, or packets here are too small for it. */
  readonly subnet6: string | undefined;
  /** Names of the networks that cards may be on. */
  readonly networks: readonly string[];
  /** Bridge, table, name server; removes what no instance of `keep` owns (left by a crash), by our prefix only. */
  start(keep: readonly AttachRequest[], signal: AbortSignal): Promise<void>;
  /** Errors: port_taken (names the port), host_command_failed. Nothing is left of a failed one. */
  attach(request: AttachRequest, signal: AbortSignal): Promise<Attachment>;
  /**
   * As attach, but resolves as soon as the guest can be made upon it; `ready` resolves when it may send: addresses and rules
   * are in place. A `ready` that rejects has left nothing. Where it is absent, attach does all at once.
   */
  begin?(
    request: AttachRequest,
    signal: AbortSignal,
  ): Promise<{ readonly attachment: Attachment; readonly ready: Promise<void> }>;
  detach(uid: Id<'instance'>, signal: AbortSignal): Promise<void>;
  /**
   * The nodes whose guests are reached from here, whole: what is not named is not reached any more. What is there already
   * is left as it is. Errors: request_invalid (a subnet that meets another), host_command_failed, unavailable (not started).
   */
  setPeers(peers: readonly OverlayPeer[], signal: AbortSignal): Promise<void>;
  /**
   * All services, whole, replaced in one transaction. Who connects to the virtual address by way of this node reaches an open
   * backend of the lowest tier; where there is none the connection is refused at once. Connections go on with their backend
   * until it is gone from the list. Errors: request_invalid, host_command_failed, unavailable (not started).
   */
  setServices(services: readonly NetworkService[], signal: AbortSignal): Promise<void>;
  /**
   * Clients, whole. A packet to a virtual address, of a connection that this node does not know, is sent on to where the
   * client was before, rather than refused. Errors: request_invalid, host_command_failed, unavailable (not started).
   */
  setClients(paths: ClientPaths, signal: AbortSignal): Promise<void>;
  /** IPv4 address at which other nodes reach this one: as it was told, the one that the default route leaves by, or any. */
  underlay(signal: AbortSignal): Promise<string | undefined>;
  /** Bytes through the guest's interface, seen from the guest. */
  counters(uid: Id<'instance'>): Promise<{ rxBytes: number; txBytes: number } | undefined>;
  probe(signal: AbortSignal): Promise<ProbeFinding[]>;
  /** Ends the parts that belong to the program (name server) but leaves all that guests need. */
  stop(): Promise<void>;
  /** Removes everything of this data folder from the host. */
  destroy(signal: AbortSignal): Promise<void>;
}
