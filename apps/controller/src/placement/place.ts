/**
 * Which node an instance goes to, with its address there, or why it has to wait or can not be had. Placement decides; here
 * its words become errors of the registry, and the node's address is found. It takes nothing: whoever asks does.
 */
import { type Node, SkerryError } from '@skerry/model';
import {
  createPlacer,
  type Ended,
  type PlaceRequest,
  type Placer,
  type Reason,
  type ReasonCode,
} from '@skerry/placement';
import { createAccessMap } from '../access/map.ts';
import { address6For, addressOf, freeSlot, macOf, parseSubnet } from '../admission/addresses.ts';
import { type Claim, claimOf } from '../admission/claim.ts';
import type { Ledger } from '../admission/ledger.ts';
import type { Draft } from '../state/draft.ts';
import type { View } from '../state/view.ts';
import { createLiveFleet, type LiveFleet } from './fleet.ts';
import { type Asked, requestOf } from './request.ts';

export interface Placed {
  readonly node: string;
  readonly claim: Claim;
  readonly network: {
    readonly address: string;
    readonly address6?: string;
    readonly mac: string;
    readonly slot: number;
  };
}
export type Answer =
  | { readonly placed: Placed }
  /** Instances of less priority have to end first. */
  | { readonly ends: readonly Ended[]; readonly node: string }
  | { readonly waits: string }
  | { readonly refused: SkerryError };

export interface Placement {
  readonly topology: ReturnType<typeof createAccessMap>;
  readonly live: LiveFleet;
  readonly placer: Placer;
  /** Errors: manifest_invalid for an access point that does not exist. */
  place(draft: Draft, asked: Asked): Answer;
}

/** To be made right after the view: it must hear of a change before whoever places because of it. */
export function createPlacement(view: View, ledger: Ledger): Placement {
  const topology = createAccessMap(view);
  const live = createLiveFleet(view, topology);
  const placer = createPlacer({ topology, fleet: live.fleet });

  const isThere = ({ status, spec }: Node) => status.phase === 'ready' && !spec.unschedulable && !spec.drain;
  const nobody = (): string | undefined => {
    let nodes = 0;
    for (const node of view.all('nodes')) {
      if (isThere(node)) return undefined;
      nodes++;
    }
    return nodes === 0 ? 'no node has joined yet' : 'no node is ready and takes new instances';
  };
  const refusal = (request: PlaceRequest, told: string, code: ReasonCode): SkerryError => {
    const text = told.replaceAll(request.key, request.key.split('/').at(-1)!);
    const [only, ...others] = [...view.all('nodes')].filter(isThere);
    if (!only || others.length > 0)
      return new SkerryError(ERROR_OF[code], text, { details: { reason: code } });
    const node = only.metadata.name;
    const [reason] = placer.judge(request, node)?.reasons ?? [];
    const first = reason ?? { code, text, numbers: {} };
    return new SkerryError(ERROR_OF[first.code], sentence(first, text, request), {
      details: detailsOf(first, request, only),
    });
  };

  return {
    topology,
    live,
    placer,
    place(draft, asked) {
      const request = requestOf(draft, view, asked);
      const absent = nobody();
      if (absent !== undefined) return { waits: absent };
      if (request.near?.some(({ accessPoint }) => !topology.has(accessPoint)))
        return { waits: 'the access network that it is to be near is being made' };
      const answer = placer.place(request);
      if (answer.outcome === 'refused') {
        // A node that would do but for its room says more than many that never will.
        const full = answer.reasons.find(
          ({ code }) => ERROR_OF[code] !== 'unsupported' && ERROR_OF[code] !== 'unavailable',
        );
        return { refused: refusal(request, answer.text, full?.code ?? answer.code) };
      }
      if (answer.ends.length > 0) return { ends: answer.ends, node: answer.node };
      const { project, workload, spec } = asked;
      const node = view.get('nodes', answer.node)!;
      const subnet = parseSubnet(node.status.subnet);
      const { slots } = ledger.node(answer.node);
      // After the last one given: an address is not used again at once, while others may still remember its owner.
      const slot = freeSlot(subnet, slots, lastKey(slots) + 1);
      if (slot === undefined)
        return {
          refused: refusal(request, `the network of ${answer.node} has no free address`, 'addresses'),
        };
      const overheads = view.get('node-overheads', answer.node) ?? {};
      return {
        placed: {
          node: answer.node,
          claim: claimOf({ project, workload, node: answer.node, slot }, spec, spec, overheads),
          network: {
            ...{ slot, address: addressOf(subnet, slot), mac: macOf(subnet, slot) },
            ...address6For(node.status.subnet6, spec, slot),
          },
        },
      };
    },
  };
}

/** Of a node of its own where a bound on latency is in the way: what could be had is in the whole answer. */
const sentence = (told: Reason, whole: string, { key }: PlaceRequest): string =>
  told.code === 'latency' ? whole : told.text.replaceAll(key, key.split('/').at(-1)!);

const ERROR_OF: Readonly<
  Record<ReasonCode, 'unsupported' | 'quota_exceeded' | 'port_taken' | 'address_exhausted' | 'unavailable'>
> = {
  no_nodes: 'unavailable',
  not_ready: 'unavailable',
  unschedulable: 'unavailable',
  runtime: 'unsupported',
  acceleration: 'unsupported',
  network: 'unsupported',
  selector: 'unsupported',
  taint: 'unsupported',
  other_site: 'unsupported',
  latency: 'unsupported',
  affinity: 'unsupported',
  anti_affinity: 'unsupported',
  repelled: 'unsupported',
  port_taken: 'port_taken',
  memory: 'quota_exceeded',
  cpus: 'quota_exceeded',
  disk: 'quota_exceeded',
  addresses: 'address_exhausted',
};

/** The field of the manifest that asks for what is not to be had. */
const FIELD_OF: Readonly<Partial<Record<ReasonCode, string>>> = {
  runtime: 'spec.runtime',
  acceleration: 'spec.placement.accelerated',
  network: 'spec.vm.networks',
  selector: 'spec.placement.nodeSelector',
  taint: 'spec.placement.tolerations',
  latency: 'spec.placement.maxLatency',
  affinity: 'spec.placement.affinity',
  anti_affinity: 'spec.placement.antiAffinity',
  port_taken: 'spec.ports',
};

function detailsOf(told: Reason, request: PlaceRequest, { metadata, status }: Node): Record<string, unknown> {
  const field = FIELD_OF[told.code];
  const isAmount = told.code === 'memory' || told.code === 'cpus' || told.code === 'disk';
  const { by, ...numbers } = told.numbers;
  return {
    ...numbers,
    ...(by !== undefined && { by: `instance ${String(by).split('/').at(-1)}` }),
    ...(isAmount && { resource: told.code }),
    ...(told.code === 'addresses' && { subnet: status.subnet }),
    ...(field !== undefined && { field }),
    reason: told.code,
    node: metadata.name,
    instance: request.key,
  };
}

function lastKey(slots: ReadonlyMap<number, string>): number {
  let last = 1;
  for (const slot of slots.keys()) last = slot;
  return last;
}
