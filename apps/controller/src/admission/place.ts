/**
 * Which node an instance goes to, with its address there, or for every node why not. Pure: it reads the ledger.
 * Of the nodes that fit, the one with the most free memory.
 */
import { type Node, SkerryError, type WorkloadSpec } from '@skerry/model';
import type { Overheads } from '../state/view.ts';
import { addressOf, freeSlot, macOf, parseSubnet } from './addresses.ts';
import { shortage } from './capacity.ts';
import { type Claim, claimOf } from './claim.ts';
import type { Ledger } from './ledger.ts';

export interface Candidate {
  readonly node: Node;
  readonly overheads: Overheads;
}
export interface Placed {
  readonly node: string;
  readonly claim: Claim;
  readonly network: { readonly address: string; readonly mac: string; readonly slot: number };
}
export type Placement =
  | { readonly placed: Placed }
  | { readonly waits: string }
  | { readonly refused: SkerryError };

export interface PlaceRequest {
  /** Key of the instance in the ledger. */
  readonly key: string;
  readonly project: string;
  readonly workload: string;
  readonly name: string;
  readonly spec: WorkloadSpec;
}

/** Tells who has a port, from the key that the ledger knows. */
export type Namer = (key: string) => string;

function refusal(
  request: PlaceRequest,
  { node, overheads }: Candidate,
  ledger: Ledger,
  namer: Namer,
): SkerryError | undefined {
  const { spec, name } = request;
  const nodeName = node.metadata.name;
  if (overheads[spec.runtime] === undefined) {
    const finding = node.status.findings.find(
      (one) => one.name === spec.runtime || one.name.startsWith(`${spec.runtime}.`),
    );
    const why = finding && finding.level === 'missing' ? `: ${finding.text}` : '';
    return new SkerryError(
      'unsupported',
      `${nodeName} can not run guests of the runtime "${spec.runtime}"${why}`,
      {
        details: { field: 'spec.runtime', node: nodeName },
      },
    );
  }
  const wanted = spec.placement?.nodeSelector ?? {};
  for (const [label, value] of Object.entries(wanted)) {
    const has = label === 'arch' ? node.status.arch : node.metadata.labels[label];
    if (has !== value) {
      return new SkerryError(
        'unsupported',
        `${nodeName} has ${label}=${has ?? '(none)'}, and ${name} wants ${label}=${value}`,
        {
          details: { field: `spec.placement.nodeSelector.${label}`, node: nodeName },
        },
      );
    }
  }
  const taken = ledger.node(nodeName);
  const claim = claimOf({ ...request, node: nodeName }, spec, spec, overheads);
  for (const port of claim.ports) {
    const owner = taken.ports.get(port);
    if (owner !== undefined && owner !== request.key) {
      return new SkerryError('port_taken', `${port} of ${nodeName} is published by ${namer(owner)}`, {
        details: { field: 'spec.ports', port, node: nodeName, by: namer(owner) },
      });
    }
  }
  const held = ledger.get(request.key);
  const short = shortage(node, taken, claim, held?.node === nodeName ? held : undefined);
  if (short) {
    const { text, ...numbers } = short;
    return new SkerryError('quota_exceeded', `${name} ${text}`, { details: { ...numbers, node: nodeName } });
  }
  const subnet = parseSubnet(node.status.subnet);
  if (freeSlot(subnet, taken.slots) === undefined) {
    return new SkerryError(
      'address_exhausted',
      `the network ${node.status.subnet} of ${nodeName} has no free address`,
      {
        details: { node: nodeName, subnet: node.status.subnet },
      },
    );
  }
  return undefined;
}

export function place(
  request: PlaceRequest,
  candidates: readonly Candidate[],
  ledger: Ledger,
  namer: Namer,
): Placement {
  const ready = candidates.filter(({ node }) => node.status.phase === 'ready' && !node.spec.unschedulable);
  if (ready.length === 0) {
    return {
      waits: candidates.length === 0 ? 'no node has joined yet' : 'no node is ready and takes new instances',
    };
  }
  const refusals: SkerryError[] = [];
  let best: Candidate | undefined;
  let bestFree = Number.NEGATIVE_INFINITY;
  for (const candidate of ready) {
    const refused = refusal(request, candidate, ledger, namer);
    if (refused) {
      refusals.push(refused);
      continue;
    }
    const free =
      candidate.node.status.capacity.memoryBytes - ledger.node(candidate.node.metadata.name).memoryBytes;
    if (free > bestFree) {
      best = candidate;
      bestFree = free;
    }
  }
  if (!best) {
    const [first, ...rest] = refusals as [SkerryError, ...SkerryError[]];
    if (rest.length === 0) return { refused: first };
    const text = refusals.map((error) => error.message).join('; ');
    return { refused: new SkerryError(first.code, text, { details: first.details }) };
  }
  const node = best.node.metadata.name;
  const subnet = parseSubnet(best.node.status.subnet);
  const slots = ledger.node(node).slots;
  // After the last one given: an address is not used again at once, while others may still remember its owner.
  const slot = freeSlot(subnet, slots, lastKey(slots) + 1)!;
  return {
    placed: {
      node,
      claim: claimOf({ ...request, node, slot }, request.spec, request.spec, best.overheads),
      network: { slot, address: addressOf(subnet, slot), mac: macOf(subnet, slot) },
    },
  };
}

function lastKey(slots: ReadonlyMap<number, string>): number {
  let last = 1;
  for (const slot of slots.keys()) last = slot;
  return last;
}
