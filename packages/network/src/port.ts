/**
 * The node network as the agent sees it. One implementation on Linux (bridge, nftables, tc, dnsmasq) and one for `sim`.
 * Every verb is idempotent: the agent may repeat it after a crash.
 */
import type { BitsPerSecond, Id, ProbeFinding } from '@skerry/model';

export interface PublishedPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** A port of the node, on all its addresses and on loopback, that leads to `port` of the guest. */
  readonly publish?: number;
}

export interface AttachRequest {
  readonly uid: Id<'instance'>;
  /** DNS name of the guest on the node network: the instance's name. */
  readonly hostname: string;
  /** `netns`: a network namespace with eth0 inside, for containers; `tap`: a tap device, for guests with their own kernel. */
  readonly kind: 'netns' | 'tap';
  readonly slot: number;
  readonly address: string;
  readonly mac: string;
  readonly ports: readonly PublishedPort[];
  readonly bandwidth?: { readonly inBps?: BitsPerSecond; readonly outBps?: BitsPerSecond };
}

interface Addressing {
  readonly uid: Id<'instance'>;
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
  readonly dns: string;
  readonly mac: string;
  readonly mtu: number;
}
export type Attachment =
  | (Addressing & { readonly kind: 'netns'; readonly netns: string; readonly path: string })
  | (Addressing & { readonly kind: 'tap'; readonly device: string });

export interface NodeNetwork {
  /** CIDR of the node network, chosen once per data folder so that it meets no address or route of the host. */
  readonly subnet: string;
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
  /** Bytes through the guest's interface, seen from the guest. */
  counters(uid: Id<'instance'>): Promise<{ rxBytes: number; txBytes: number } | undefined>;
  probe(signal: AbortSignal): Promise<ProbeFinding[]>;
  /** Ends the parts that belong to the program (name server) but leaves all that guests need. */
  stop(): Promise<void>;
  /** Removes everything of this data folder from the host. */
  destroy(signal: AbortSignal): Promise<void>;
}
