/**
 * What each node has to know of the others: which of their guests it leads clients to, how far each is, and how to reach
 * their nodes. Made anew, as a whole, shortly after something changed; a node hears of it only when its own part differs.
 */
import type { DesiredNetwork, ServiceEndpoint, ServiceRoute } from '@skerry/contract';
import {
  hasSureIpv6,
  type Id,
  type Instance,
  type Node,
  serviceAddress6,
  type Workload,
} from '@skerry/model';
import type { Topology } from '@skerry/placement';
import type { Clock } from '../clock.ts';
import { same } from '../state/resource.ts';
import type { Change, View } from '../state/view.ts';
import { expectsClients, movedClients } from './moved.ts';

/** Changes come in groups; the kernel's tables have to follow within seconds. */
const SETTLE_MS = 50;
/** Of each service, a node knows those nearest to it: with thousands of nodes no one needs all. */
const NEAREST = 8;
/** Between nodes of which nobody knows how far they are apart. */
const UNKNOWN_US = 1000;
/** Over no link that is up, by the model: packets may still find a way. */
const UNREACHED_US = 10_000_000;

export interface ServiceNetwork {
  of(node: string): DesiredNetwork;
  /** Told the nodes whose part changed. */
  onChange(listener: (nodes: readonly string[]) => void): void;
  stop(): void;
}

interface Reached {
  readonly node: Node;
  readonly underlay: string;
}
interface Service {
  readonly workload: Workload;
  readonly endpoints: readonly {
    readonly instance: Instance;
    readonly healthy: boolean;
    readonly lost: boolean;
  }[];
}

/**
 * Of one that is on its way out the connections go on, but no new one comes. One of a lost node may well run: other nodes may
 * reach it where the controller does not.
 */
const PHASES_WITH_CONNECTIONS = ['running', 'stopping', 'lost'];

function* servicesOf(view: View): Generator<Service> {
  for (const workload of view.all('workloads')) {
    const { metadata, spec, status } = workload;
    if (!spec.ports?.length || status.serviceAddress === undefined) continue;
    const endpoints = view
      .instancesOf(metadata.project!, metadata.name)
      .filter(
        ({ spec: own, status: now }) =>
          own.node && own.network && PHASES_WITH_CONNECTIONS.includes(now.phase),
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
    yield { workload, endpoints };
  }
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

export function createServiceNetwork(view: View, topology: Topology, clock: Clock): ServiceNetwork {
  let parts = new Map<string, DesiredNetwork>();
  let isStale = true;
  let cancel: (() => void) | undefined;
  const listeners: ((nodes: readonly string[]) => void)[] = [];

  const latencyUs = (from: Node, to: Node): number => {
    if (from.metadata.name === to.metadata.name) return 0;
    const [a, b] = [from.spec.site, to.spec.site];
    if (a === undefined || b === undefined || !topology.has(a) || !topology.has(b)) return UNKNOWN_US;
    // By the model alone: what is said of a revision is the same whenever it is said. Nodes correct it by what they measure.
    const { modelledMs } = topology.distance(a, b);
    return Number.isFinite(modelledMs) ? Math.round(modelledMs * 1000) : UNREACHED_US;
  };

  /** Of the reached ones, those that have guests of one project, so that these can reach each other. */
  const together = (reached: ReadonlyMap<string, Reached>): Map<string, Set<string>> => {
    const byProject = new Map<string, Set<string>>();
    for (const { metadata, spec } of view.all('instances')) {
      if (spec.node === undefined || !reached.has(spec.node)) continue;
      const nodes = byProject.get(metadata.project!) ?? new Set();
      byProject.set(metadata.project!, nodes.add(spec.node));
    }
    return byProject;
  };

  const build = (): Map<string, DesiredNetwork> => {
    const nodes = new Map<string, Reached>();
    for (const node of view.all('nodes'))
      if (node.status.underlay !== undefined)
        nodes.set(node.metadata.name, { node, underlay: node.status.underlay });
    if (nodes.size === 0) return new Map();
    const peers = new Map<string, Set<string>>([...nodes.keys()].map((name) => [name, new Set()]));
    const meet = (a: string, b: string) => {
      if (a === b) return;
      peers.get(a)!.add(b);
      peers.get(b)!.add(a);
    };
    for (const members of together(nodes).values())
      for (const a of members) for (const b of members) if (a < b) meet(a, b);
    const services = [...servicesOf(view)].sort((a, b) =>
      a.workload.metadata.uid < b.workload.metadata.uid ? -1 : 1,
    );
    const routes = new Map<string, ServiceRoute[]>();
    for (const [name, { node }] of nodes) {
      const own = services.map((service) => {
        const endpoints = service.endpoints
          .filter(({ instance }) => nodes.has(instance.spec.node!))
          .map(({ instance, healthy, lost }) => ({
            uid: instance.metadata.uid as Id<'instance'>,
            node: instance.spec.node!,
            address: instance.spec.network!.address,
            ...sureIpv6(instance, nodes.get(instance.spec.node!)!.node),
            latencyUs: latencyUs(node, nodes.get(instance.spec.node!)!.node),
            healthy,
            ...(lost && { lost: true as const }),
          }))
          .sort(
            (a, b) =>
              Number(b.healthy) - Number(a.healthy) || a.latencyUs - b.latencyUs || (a.uid < b.uid ? -1 : 1),
          )
          .slice(0, NEAREST);
        for (const endpoint of endpoints) meet(name, endpoint.node);
        return routeOf(service, endpoints);
      });
      routes.set(name, own);
    }
    const clients = clientsBySite(view);
    const atSite = new Map<string, string[]>();
    for (const [name, { node }] of nodes)
      if (node.spec.site !== undefined)
        atSite.set(node.spec.site, [...(atSite.get(node.spec.site) ?? []), name].sort());
    const moved = movedClients(
      view.all('clients'),
      (name) => view.get('access-points', name)?.spec.site,
      (site) => atSite.get(site) ?? [],
    );
    for (const [name, list] of moved) for (const { next } of list) if (next !== undefined) meet(name, next);
    const expects = expectsClients(view);
    const built = new Map<string, DesiredNetwork>();
    for (const [name, met] of peers) {
      const known = [...met].sort().map((peer) => {
        const { node, underlay } = nodes.get(peer)!;
        const { subnet, subnet6 } = node.status;
        return { node: peer, address: underlay, subnet, ...(subnet6 !== undefined && { subnet6 }) };
      });
      const { site } = nodes.get(name)!.node.spec;
      const near = (site !== undefined && clients.get(site)) || [];
      built.set(name, {
        ...{ peers: known, services: routes.get(name) ?? [] },
        ...(near.length > 0 && { clients: near }),
        ...(moved.has(name) && { moved: moved.get(name)! }),
        ...(expects && { expectsClients: true as const }),
      });
    }
    return built;
  };

  /** Of nodes whose part changed, and that have not been told. */
  const changed = new Set<string>();
  const refresh = () => {
    isStale = false;
    const before = parts;
    parts = build();
    for (const [node, part] of parts) if (!same(part, before.get(node))) changed.add(node);
  };

  view.onChange((change) => {
    if (concerns(change)) isStale = true;
  });
  view.onBatch(() => {
    if (!isStale || cancel) return;
    cancel = clock.after(SETTLE_MS, () => {
      cancel = undefined;
      if (isStale) refresh();
      const nodes = [...changed];
      changed.clear();
      for (const listener of listeners) listener(nodes);
    });
  });
  return {
    of(node) {
      // A generation is a revision of the store: what is said of it must be the same whenever it is said.
      if (isStale) refresh();
      return parts.get(node) ?? NOTHING;
    },
    onChange: (listener) => void listeners.push(listener),
    stop: () => cancel?.(),
  };
}

function concerns({ collection, before, after }: Change): boolean {
  if (['sites', 'access-points', 'links', 'clients'].includes(collection)) return true;
  if (collection === 'workloads') {
    const [was, is] = [before, after] as (Workload | undefined)[];
    return !same(was?.spec.ports, is?.spec.ports) || was?.status.serviceAddress !== is?.status.serviceAddress;
  }
  if (collection === 'nodes') {
    const [was, is] = [before, after] as (Node | undefined)[];
    return (
      was?.status.underlay !== is?.status.underlay ||
      was?.status.subnet !== is?.status.subnet ||
      was?.status.subnet6 !== is?.status.subnet6 ||
      was?.spec.site !== is?.spec.site
    );
  }
  if (collection !== 'instances') return false;
  const [was, is] = [before, after] as (Instance | undefined)[];
  if (was?.spec.node !== is?.spec.node) return true;
  // Nobody is led to a guest without ports: what becomes of it concerns no other node.
  if (!(was?.spec.template.ports?.length || is?.spec.template.ports?.length)) return false;
  return (
    was?.status.phase !== is?.status.phase ||
    was?.status.health !== is?.status.health ||
    was?.metadata.deletedAt !== is?.metadata.deletedAt ||
    was?.spec.network?.address !== is?.spec.network?.address
  );
}
