/**
 * The nodes as placement reads them, with what is taken of each: nodes follow the view, what is taken follows the ledger,
 * which knows also what is about to be committed. It decides nothing.
 */
import type { Node } from '@skerry/model';
import { createFleet, type Fleet, type FleetNode, type Topology } from '@skerry/placement';
import { parseSubnet } from '../admission/addresses.ts';
import { CPU_OVERCOMMIT, reserveBytes } from '../admission/capacity.ts';
import type { Claim } from '../admission/claim.ts';
import { partsOf } from '../state/keys.ts';
import type { Change, Overheads, View } from '../state/view.ts';

/** As people name it: `default/web-0`; of a volume `volume default/data`. */
export function fleetKey(key: string): string {
  const { collection, project, name } = partsOf(key);
  return collection === 'instances' ? `${project}/${name}` : `volume ${project}/${name}`;
}

export interface LiveFleet {
  readonly fleet: Fleet;
  claimed(key: string, claim: Claim | undefined): void;
}

/** Runtimes whose guests are containers: they share the kernel, so nothing is emulated. */
const NEVER_EMULATED = ['container', 'system', 'sim'];

function runtimesOf({ status }: Node, overheads: Overheads): FleetNode['runtimes'] {
  const found = Object.entries(overheads).map(([runtime, overheadBytes]) => {
    const finding = status.findings.find(({ name }) => name === `${runtime}.acceleration`);
    return [
      runtime,
      { overheadBytes, accelerated: NEVER_EMULATED.includes(runtime) || finding?.level === 'ok' },
    ];
  });
  return Object.fromEntries(found);
}

function lacksOf({ status }: Node): NonNullable<FleetNode['lacks']> {
  const missing = status.findings.filter(({ level }) => level === 'missing');
  return Object.fromEntries(missing.map(({ name, text }) => [name.split('.')[0]!, text]).reverse());
}

/** Labels that every node has: its name, its architecture, its site. */
export const labelsOf = ({ metadata, spec, status }: Node): Record<string, string> => ({
  ...metadata.labels,
  arch: status.arch,
  node: metadata.name,
  ...(spec.site !== undefined && { site: spec.site }),
});

const fleetNode = (node: Node, overheads: Overheads): FleetNode => ({
  name: node.metadata.name,
  ...(node.spec.site !== undefined && { site: node.spec.site }),
  labels: labelsOf(node),
  taints: (node.spec.taints ?? []).map(({ key, value }) => ({ key, ...(value !== undefined && { value }) })),
  runtimes: runtimesOf(node, overheads),
  lacks: lacksOf(node),
  ...(node.status.networks && { networks: node.status.networks }),
  cpus: node.status.capacity.cpus,
  cpuOvercommit: CPU_OVERCOMMIT,
  memoryBytes: node.status.capacity.memoryBytes,
  reservedBytes: reserveBytes(node.status.capacity.memoryBytes),
  diskBytes: node.status.capacity.diskBytes,
  addresses: parseSubnet(node.status.subnet).lastSlot - 1,
  ready: node.status.phase === 'ready',
  schedulable: node.spec.unschedulable !== true && node.spec.drain !== true,
});

export function createLiveFleet(view: View, { sites }: Topology): LiveFleet {
  const fleet = createFleet({ sites });
  const known = new Set<string>();
  const dirty = new Set<string>();
  view.onChange(({ collection, key }: Change) => {
    if (collection === 'nodes' || collection === 'node-overheads') dirty.add(partsOf(key).name);
  });
  view.onBatch(() => {
    for (const name of dirty) {
      const node = view.get('nodes', name);
      if (node) {
        fleet.set(fleetNode(node, view.get('node-overheads', name) ?? {}));
        known.add(name);
      } else if (known.has(name)) fleet.remove(name);
    }
    dirty.clear();
  });
  /** What is taken may be heard of before its node is, or after it went. */
  const meet = (name: string) => {
    if (known.has(name)) return;
    const nothing = { cpus: 0, memoryBytes: 0, diskBytes: 0, ready: false, schedulable: false, runtimes: {} };
    fleet.set({ name, ...nothing });
    fleet.remove(name);
    known.add(name);
  };
  return {
    fleet,
    claimed(key, claim) {
      if (claim?.node === undefined) {
        fleet.give(fleetKey(key));
        return;
      }
      meet(claim.node);
      const { node, cpus, memoryBytes, diskBytes, ports } = claim;
      fleet.take(fleetKey(key), {
        ...{ node, cpus, memoryBytes, diskBytes, ports },
        groups: claim.workload === '' ? [] : [`${claim.project}/${claim.workload}`],
        ...(claim.repels && { repels: claim.repels }),
        ...(claim.priority !== undefined && { priority: claim.priority }),
        addresses: claim.instances,
      });
    },
  };
}
