/**
 * What each node has to know of the others: which of their guests it leads clients to, how far each is, and how to reach
 * their nodes. Kept up shortly after something changed; a node hears of it only when its own part differs.
 */
import type { DesiredNetwork } from '@skerry/contract';
import type { Instance, Node, Workload } from '@skerry/model';
import type { Topology } from '@skerry/placement';
import type { Clock } from '../clock.ts';
import { keyOf } from '../state/keys.ts';
import { same } from '../state/resource.ts';
import type { Change, View } from '../state/view.ts';
import { createNetworkParts, type NetworkParts } from './parts.ts';

/** Changes come in groups; the kernel's tables have to follow within seconds. */
const SETTLE_MS = 50;

export interface ServiceNetwork {
  of(node: string): DesiredNetwork;
  /** Told the nodes whose part changed. */
  onChange(listener: (nodes: readonly string[]) => void): void;
  stop(): void;
}

export function createServiceNetwork(view: View, topology: Topology, clock: Clock): ServiceNetwork {
  const parts = createNetworkParts(view, topology);
  let isStale = true;
  let cancel: (() => void) | undefined;
  const listeners: ((nodes: readonly string[]) => void)[] = [];

  /** Nodes whose part changed, and that have not been told. */
  const changed = new Set<string>();
  const refresh = () => {
    isStale = false;
    for (const node of parts.refresh()) changed.add(node);
  };

  view.onChange((change) => {
    if (!concerns(change)) return;
    isStale = true;
    tell(parts, change);
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
      return parts.of(node);
    },
    onChange: (listener) => void listeners.push(listener),
    stop: () => cancel?.(),
  };
}

function tell(parts: NetworkParts, { collection, key, before, after }: Change): void {
  if (collection === 'clients') parts.clientsChanged();
  else if (collection === 'workloads') parts.serviceChanged(key);
  else if (collection !== 'instances') parts.allChanged();
  if (collection !== 'instances') return;
  const [was, is] = [before, after] as (Instance | undefined)[];
  const project = (is ?? was)!.metadata.project!;
  for (const name of new Set([was?.spec.workload, is?.spec.workload]))
    if (name !== undefined) parts.serviceChanged(keyOf('workloads', project, name));
  if (was?.spec.node !== is?.spec.node) parts.instanceMoved(project, was?.spec.node, is?.spec.node);
}

function concerns({ collection, before, after }: Change): boolean {
  if (['sites', 'access-points', 'links', 'clients'].includes(collection)) return true;
  if (collection === 'workloads') {
    const [was, is] = [before, after] as (Workload | undefined)[];
    return (
      !same(was?.spec.ports, is?.spec.ports) ||
      !same(was?.spec.onHandover, is?.spec.onHandover) ||
      (is?.spec.onHandover && !same(was?.spec.placement?.near, is.spec.placement?.near)) ||
      was?.status.serviceAddress !== is?.status.serviceAddress ||
      was?.metadata.uid !== is?.metadata.uid ||
      was?.spec.runtime !== is?.spec.runtime
    );
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
    was?.metadata.uid !== is?.metadata.uid ||
    was?.spec.template.runtime !== is?.spec.template.runtime ||
    !same(was?.spec.network, is?.spec.network)
  );
}
