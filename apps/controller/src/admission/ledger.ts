/**
 * Who holds what: sums for each node and project, slots and published ports, kept as claims come and go. It answers in
 * constant time, and holds claims that are being committed as well as those that are.
 */
import { same } from '../state/resource.ts';
import type { Claim } from './claim.ts';

export interface Taken {
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  instances: number;
}
export interface NodeTaken extends Taken {
  readonly slots: Map<number, string>;
  /** `tcp/8080` -> the key of the instance that has it. */
  readonly ports: Map<string, string>;
}

export interface Ledger {
  get(key: string): Claim | undefined;
  set(key: string, claim: Claim | undefined): void;
  node(name: string): NodeTaken;
  project(name: string): Taken;
}

const none = (): Taken => ({ cpus: 0, memoryBytes: 0, diskBytes: 0, instances: 0 });

function add(to: Taken, claim: Claim, sign: 1 | -1): void {
  // Fractions of a CPU are rounded to a thousandth, so that adding and taking away ends at zero.
  to.cpus = Math.round((to.cpus + sign * claim.cpus) * 1000) / 1000;
  to.memoryBytes += sign * claim.memoryBytes;
  to.diskBytes += sign * claim.diskBytes;
  to.instances += sign * claim.instances;
}

/** `onSet` hears of every claim that comes, changes or goes. */
export function createLedger(onSet?: (key: string, claim: Claim | undefined) => void): Ledger {
  const claims = new Map<string, Claim>();
  const nodes = new Map<string, NodeTaken>();
  const projects = new Map<string, Taken>();

  const nodeOf = (name: string): NodeTaken => {
    let taken = nodes.get(name);
    if (!taken) {
      taken = { ...none(), slots: new Map(), ports: new Map() };
      nodes.set(name, taken);
    }
    return taken;
  };
  const projectOf = (name: string): Taken => {
    let taken = projects.get(name);
    if (!taken) {
      taken = none();
      projects.set(name, taken);
    }
    return taken;
  };

  /** Whether slot and ports of a claim are the key's own: another one may have had them at the same time. */
  const owns = (key: string, claim: Claim | undefined): boolean => {
    if (claim?.node === undefined) return true;
    const { slots, ports } = nodeOf(claim.node);
    return (
      (claim.slot === undefined || slots.get(claim.slot) === key) &&
      claim.ports.every((port) => ports.get(port) === key)
    );
  };

  return {
    get: (key) => claims.get(key),
    node: nodeOf,
    project: projectOf,
    set(key, claim) {
      const before = claims.get(key);
      if (same(before, claim) && owns(key, claim)) return; // most changes of a guest leave what it takes as it was
      onSet?.(key, claim);
      if (before) {
        add(projectOf(before.project), before, -1);
        if (before.node !== undefined) {
          const node = nodeOf(before.node);
          add(node, before, -1);
          if (before.slot !== undefined && node.slots.get(before.slot) === key)
            node.slots.delete(before.slot);
          for (const port of before.ports) if (node.ports.get(port) === key) node.ports.delete(port);
        }
      }
      if (!claim) {
        claims.delete(key);
        return;
      }
      claims.set(key, claim);
      add(projectOf(claim.project), claim, 1);
      if (claim.node !== undefined) {
        const node = nodeOf(claim.node);
        add(node, claim, 1);
        if (claim.slot !== undefined) node.slots.set(claim.slot, key);
        for (const port of claim.ports) node.ports.set(port, key);
      }
    },
  };
}
