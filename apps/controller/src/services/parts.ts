/**
 * The part of each node in the network between nodes, kept up as things change: a service is made anew when it or one of its
 * instances changed, the peers of a node when somebody came to its projects or left them, all of it only when a node or the
 * way between sites did. Nodes of one site that have no instance of a service themselves share what they are told of it.
 * It decides nothing about when; `fresh` parts and those that were kept up are the same.
 */
import type { DesiredNetwork, HandoverNotice, ServiceEndpoint, ServiceRoute } from '@skerry/contract';
import {
  hasSureIpv6,
  type Id,
  type Instance,
  type Node,
  serviceAddress6,
  type Workload,
} from '@skerry/model';
import type { Topology } from '@skerry/placement';
import { keyOf } from '../state/keys.ts';
import { same } from '../state/resource.ts';
import type { View } from '../state/view.ts';
import { handoverNotices } from './handovers.ts';
import { expectsClients, type MovedClient, movedClients } from './moved.ts';

/** Of each service, a node knows those nearest to it: with thousands of nodes no one needs all. */
const NEAREST = 8;
/** Between nodes of which nobody knows how far they are apart. */
const UNKNOWN_US = 1000;
/** Over no link that is up, by the model: packets may still find a way. */
const UNREACHED_US = 10_000_000;

type Peer = DesiredNetwork['peers'][number];
interface Reached {
  readonly node: Node;
  /** What others are told of it. */
  readonly told: Peer;
}
interface Service {
  readonly workload: Workload;
  readonly endpoints: readonly {
    readonly instance: Instance;
    readonly healthy: boolean;
    readonly lost: boolean;
  }[];
}

/** A service as nodes are told of it: those that have an instance, and the others by their site. */
interface Routed {
  readonly uid: string;
  readonly hosts: ReadonlyMap<string, ServiceRoute>;
  readonly sites: ReadonlyMap<string, ServiceRoute>;
}

/**
 * Of one that is on its way out the connections go on, but no new one comes. One of a lost node may well run: other nodes may
 * reach it where the controller does not.
 */
const PHASES_WITH_CONNECTIONS = ['running', 'stopping', 'lost'];

/** Undefined where a workload is none: it has no ports, or no address yet. */
function serviceOf(view: View, workload: Workload | undefined): Service | undefined {
  if (!workload?.spec.ports?.length || workload.status.serviceAddress === undefined) return undefined;
  const endpoints = view
    .instancesOf(workload.metadata.project!, workload.metadata.name)
    .filter(
      ({ spec: own, status: now }) => own.node && own.network && PHASES_WITH_CONNECTIONS.includes(now.phase),
    )
    .map((instance) => ({
      instance,
      healthy:
        instance.status.phase === 'running' &&
        instance.status.health !== 'unhealthy' &&
        instance.metadata.deletedAt === undefined,
      lost:
        instance.status.phase === 'lost' &&
        instance.status.health !== 'unhealthy' &&
        instance.metadata.deletedAt === undefined,
    }));
  return { workload, endpoints };
}

/** Where the node itself set up the guest's interface, and has IPv6 still. */
function sureIpv6({ spec }: Instance, { status }: Node): { readonly address6?: string } {
  const address6 = spec.network?.address6;
  const isSure = hasSureIpv6(spec.template.runtime) && status.subnet6 !== undefined;
  return isSure && address6 !== undefined ? { address6 } : {};
}

function routeOf({ workload }: Service, endpoints: ServiceEndpoint[]): ServiceRoute {
  const { metadata, spec, status } = workload;
  return {
    uid: metadata.uid as Id<'workload'>,
    project: metadata.project!,
    name: metadata.name,
    address: status.serviceAddress!,
    ...(hasSureIpv6(spec.runtime) && { address6: serviceAddress6(status.serviceAddress!) }),
    ports: (spec.ports ?? []).map(({ name, port, protocol }) => ({
      ...{ name, port, targetPort: port },
      protocol: protocol ?? 'tcp',
    })),
    endpoints,
  };
}

type ClientHere = NonNullable<DesiredNetwork['clients']>[number];

/** Of each site, the clients that come through its access points. */
function clientsBySite(view: View): Map<string, ClientHere[]> {
  const found = new Map<string, ClientHere[]>();
  for (const { metadata, spec } of view.all('clients')) {
    const address = spec.address ?? spec.address6;
    if (spec.attachedTo === undefined || address === undefined) continue;
    const site = view.get('access-points', spec.attachedTo)?.spec.site;
    if (site === undefined) continue;
    const here = found.get(site) ?? [];
    const second = spec.address !== undefined && spec.address6 !== undefined && { address6: spec.address6 };
    here.push({ name: metadata.name, address, ...second, accessPoint: spec.attachedTo });
    found.set(site, here);
  }
  return found;
}

const NOTHING: DesiredNetwork = { peers: [], services: [] };
/** In the place of a site's name: no site is called so. */
const NO_SITE = '';
const siteOf = ({ node }: Reached): string => node.spec.site ?? NO_SITE;
const routeFor = ({ hosts, sites }: Routed, one: Reached): ServiceRoute =>
  hosts.get(one.node.metadata.name) ?? sites.get(siteOf(one))!;
const kept = <T>(before: T | undefined, now: T): T =>
  before !== undefined && same(before, now) ? before : now;

/** What did not change is the very same object in both. */
function isSamePart(now: DesiredNetwork, before: DesiredNetwork | undefined): boolean {
  if (before?.peers !== now.peers || before.services.length !== now.services.length) return false;
  return (
    now.services.every((route, at) => route === before.services[at]) &&
    same(now.clients, before.clients) &&
    same(now.moved, before.moved) &&
    same(now.handovers, before.handovers) &&
    now.expectsClients === before.expectsClients
  );
}

export interface NetworkParts {
  of(node: string): DesiredNetwork;
  /** A node, or the way between sites, changed. */
  allChanged(): void;
  clientsChanged(): void;
  /** `key`: of the workload; something about it or its instances changed. */
  serviceChanged(key: string): void;
  /** An instance went from one node to another; undefined: from nowhere, or to nowhere. */
  instanceMoved(project: string, from: string | undefined, to: string | undefined): void;
  /** Makes good what changed; returns the nodes whose part is another now. */
  refresh(): Set<string>;
}

export function createNetworkParts(view: View, topology: Topology): NetworkParts {
  const parts = new Map<string, DesiredNetwork>();
  let reached = new Map<string, Reached>();
  let clients = new Map<string, ClientHere[]>();
  let moved = new Map<string, MovedClient[]>();
  /** Nodes that meet because one sends on to the other what came for a client that moved; sorted. */
  let senders = new Map<string, string[]>();
  let expects = false;
  let handovers = new Map<string, HandoverNotice[]>();
  /** By the key of their workload; `order` as nodes are told of them. */
  let services = new Map<string, Routed>();
  let order: string[] = [];
  const peers = new Map<string, readonly Peer[]>();
  /** Of each project, the nodes that have instances of it, and how many. */
  const members = new Map<string, Map<string, number>>();
  /** Nodes that meet because one leads clients to the other, and for how many routes. */
  let led = new Map<string, Map<string, number>>();
  let isAllDue = true;
  let areClientsDue = true;
  const dueServices = new Set<string>();
  const duePeers = new Set<string>();
  const dueParts = new Set<string>();

  const latencyUs = (from: Node, to: Node): number => {
    if (from.metadata.name === to.metadata.name) return 0;
    const [a, b] = [from.spec.site, to.spec.site];
    if (a === undefined || b === undefined || !topology.has(a) || !topology.has(b)) return UNKNOWN_US;
    // By the model alone: what is said of a revision is the same whenever it is said. Nodes correct it by what they measure.
    const { modelledMs } = topology.distance(a, b);
    return Number.isFinite(modelledMs) ? Math.round(modelledMs * 1000) : UNREACHED_US;
  };

  const count = (of: Map<string, Map<string, number>>, group: string, name: string, by: 1 | -1): boolean => {
    const counts = of.get(group) ?? new Map<string, number>();
    of.set(group, counts);
    const now = (counts.get(name) ?? 0) + by;
    if (now > 0) counts.set(name, now);
    else counts.delete(name);
    if (counts.size === 0) of.delete(group);
    return now === 0 || (now === 1 && by === 1);
  };
  const move = (project: string, node: string, by: 1 | -1) => {
    if (!count(members, project, node, by)) return;
    duePeers.add(node);
    for (const other of members.get(project)?.keys() ?? []) duePeers.add(other);
  };
  for (const { metadata, spec } of view.all('instances'))
    if (spec.node !== undefined) move(metadata.project!, spec.node, 1);

  const endpointsFrom = (from: Node, { endpoints }: Service): ServiceEndpoint[] =>
    endpoints
      .filter(({ instance }) => reached.has(instance.spec.node!))
      .map(({ instance, healthy, lost }) => ({
        uid: instance.metadata.uid as Id<'instance'>,
        node: instance.spec.node!,
        address: instance.spec.network!.address,
        ...sureIpv6(instance, reached.get(instance.spec.node!)!.node),
        latencyUs: latencyUs(from, reached.get(instance.spec.node!)!.node),
        healthy,
        ...(lost && { lost: true as const }),
      }))
      .sort(
        (a, b) =>
          Number(b.healthy) - Number(a.healthy) || a.latencyUs - b.latencyUs || (a.uid < b.uid ? -1 : 1),
      )
      .slice(0, NEAREST);

  const routed = (service: Service, before: Routed | undefined): Routed => {
    const hosts = new Map<string, ServiceRoute>();
    const sites = new Map<string, ServiceRoute>();
    const own = new Set(service.endpoints.map(({ instance }) => instance.spec.node!));
    for (const one of reached.values()) {
      const { name } = one.node.metadata;
      const isHost = own.has(name);
      if (!isHost && sites.has(siteOf(one))) continue;
      const route = routeOf(service, endpointsFrom(one.node, service));
      if (isHost) hosts.set(name, kept(before?.hosts.get(name), route));
      else sites.set(siteOf(one), kept(before?.sites.get(siteOf(one)), route));
    }
    return { uid: service.workload.metadata.uid, hosts, sites };
  };

  const meet = (name: string, route: ServiceRoute | undefined, by: 1 | -1) => {
    for (const { node } of route?.endpoints ?? []) {
      if (node === name) continue;
      for (const [a, b] of [[name, node] as const, [node, name] as const])
        if (count(led, a, b, by)) duePeers.add(a);
    }
  };
  /** `known`: as it was, where only the sameness of what is told counts. */
  const refreshService = (key: string, known?: Routed) => {
    const before = services.get(key);
    const service = serviceOf(view, view.byKey(key) as Workload | undefined);
    const now = service && routed(service, before ?? known);
    if (now) services.set(key, now);
    else services.delete(key);
    if (before?.uid !== now?.uid) order = [];
    if (!before && !now) return;
    for (const [name, one] of reached) {
      const [was, is] = [before && routeFor(before, one), now && routeFor(now, one)];
      if (was === is) continue;
      dueParts.add(name);
      meet(name, is, 1);
      meet(name, was, -1);
    }
  };

  const refreshAll = () => {
    reached = new Map();
    for (const node of view.all('nodes')) {
      const { subnet, subnet6, underlay } = node.status;
      if (underlay === undefined) continue;
      const { name } = node.metadata;
      const told = { node: name, address: underlay, subnet, ...(subnet6 !== undefined && { subnet6 }) };
      reached.set(name, { node, told });
    }
    for (const name of parts.keys()) {
      if (reached.has(name)) continue;
      parts.delete(name);
      peers.delete(name);
    }
    const known = services;
    services = new Map();
    led = new Map();
    if (reached.size === 0) return;
    for (const { metadata } of view.all('workloads')) {
      const key = keyOf('workloads', metadata.project!, metadata.name);
      refreshService(key, known.get(key));
    }
    order = [];
    for (const name of reached.keys()) {
      duePeers.add(name);
      dueParts.add(name);
    }
  };

  const refreshPeers = (name: string) => {
    const met = new Set<string>(led.get(name)?.keys());
    for (const nodes of members.values()) if (nodes.has(name)) for (const node of nodes.keys()) met.add(node);
    for (const node of senders.get(name) ?? []) met.add(node);
    met.delete(name);
    const now = [...met].sort().flatMap((peer) => reached.get(peer)?.told ?? []);
    const before = peers.get(name);
    if (before && same(before, now)) return;
    peers.set(name, now);
    dueParts.add(name);
  };

  const refreshClients = () => {
    const before = { clients, moved, senders, expects };
    clients = clientsBySite(view);
    const atSite = new Map<string, string[]>();
    for (const [name, one] of reached)
      if (siteOf(one) !== NO_SITE) atSite.set(siteOf(one), [...(atSite.get(siteOf(one)) ?? []), name].sort());
    moved = movedClients(
      view.all('clients'),
      (name) => view.get('access-points', name)?.spec.site,
      (site) => atSite.get(site) ?? [],
    );
    const pairs = new Map<string, Set<string>>();
    for (const [name, list] of moved)
      for (const { next } of list) {
        if (next === undefined) continue;
        pairs.set(name, (pairs.get(name) ?? new Set()).add(next));
        pairs.set(next, (pairs.get(next) ?? new Set()).add(name));
      }
    senders = new Map([...pairs].map(([name, nodes]) => [name, [...nodes].sort()]));
    expects = expectsClients(view);
    for (const [name, one] of reached) {
      if (!same(before.senders.get(name), senders.get(name))) duePeers.add(name);
      const isSame =
        before.expects === expects &&
        same(before.clients.get(siteOf(one)), clients.get(siteOf(one))) &&
        same(before.moved.get(name), moved.get(name));
      if (!isSame) dueParts.add(name);
    }
  };

  const refreshHandovers = () => {
    const before = handovers;
    handovers = handoverNotices(view);
    for (const name of new Set([...before.keys(), ...handovers.keys()]))
      if (!same(before.get(name), handovers.get(name))) dueParts.add(name);
  };

  const partOf = (one: Reached): DesiredNetwork => {
    const near = clients.get(siteOf(one)) ?? [];
    return {
      peers: peers.get(one.node.metadata.name) ?? NOTHING.peers,
      services: order.map((key) => routeFor(services.get(key)!, one)),
      ...(near.length > 0 && { clients: near }),
      ...(moved.has(one.node.metadata.name) && { moved: moved.get(one.node.metadata.name)! }),
      ...(handovers.has(one.node.metadata.name) && { handovers: handovers.get(one.node.metadata.name)! }),
      ...(expects && { expectsClients: true as const }),
    };
  };

  return {
    of: (node) => parts.get(node) ?? NOTHING,
    allChanged() {
      isAllDue = true;
    },
    clientsChanged() {
      areClientsDue = true;
    },
    serviceChanged: (key) => void dueServices.add(key),
    instanceMoved(project, from, to) {
      if (from !== undefined) move(project, from, -1);
      if (to !== undefined) move(project, to, 1);
    },
    refresh() {
      const changed = new Set<string>();
      if (isAllDue) refreshAll();
      else for (const key of dueServices) refreshService(key);
      if (isAllDue || areClientsDue) refreshClients();
      if (isAllDue || areClientsDue || dueServices.size > 0) refreshHandovers();
      isAllDue = false;
      areClientsDue = false;
      dueServices.clear();
      for (const name of duePeers) if (reached.has(name)) refreshPeers(name);
      duePeers.clear();
      if (order.length !== services.size) {
        const uidOf = (key: string) => services.get(key)!.uid;
        order = [...services.keys()].sort((a, b) => (uidOf(a) < uidOf(b) ? -1 : 1));
      }
      for (const name of dueParts) {
        const one = reached.get(name);
        const part = one && partOf(one);
        if (!part || isSamePart(part, parts.get(name))) continue;
        parts.set(name, part);
        changed.add(name);
      }
      dueParts.clear();
      return changed;
    },
  };
}
