/** What is asked for, and what comes back. Types only. */
import type { RuntimeKind } from '@skerry/model';
import type { GroupTerm, Taking, Toleration } from '../fleet/node.ts';
import type { ReasonCode } from './reasons.ts';

export interface Near {
  readonly accessPoint: string;
  /** How much it counts: clients there, for instance. Default 1; 0 leaves it out. */
  readonly weight?: number;
}

export interface PlaceRequest {
  /** Of the instance. What it has already counts as free, so that an instance can be placed anew. */
  readonly key: string;
  /** `default/web`: what spread counts, and a group that others may be near or away from. */
  readonly workload: string;
  readonly runtime: RuntimeKind;
  /** Only where it runs on the hardware, not emulated. */
  readonly accelerated?: boolean;
  /** All of these the node must have. */
  readonly networks?: readonly string[];
  readonly cpus: number;
  /** Without the runtime's overhead. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** `tcp/8080` of the node. */
  readonly ports?: readonly string[];
  /** More groups that it is counted in: labels of the workload, as `default/app=web`. */
  readonly groups?: readonly string[];
  readonly near?: readonly Near[];
  /** One way, from each access point of `near`. A hard bound. */
  readonly maxLatencyMs?: number;
  /** As few as possible of this workload at a site, or on a node, even if that is farther away. */
  readonly spread?: 'site' | 'node';
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** Only at one of these sites. */
  readonly atSites?: readonly string[];
  /** Only where an instance of the group is. The first of a workload that wants to be near itself may go anywhere. */
  readonly affinity?: readonly GroupTerm[];
  /** Nowhere where an instance of the group is; and while this one is there, none of the group comes. */
  readonly antiAffinity?: readonly GroupTerm[];
  readonly tolerations?: readonly Toleration[];
  /** Default 0. */
  readonly priority?: number;
  /** Whether instances of a lower priority may be ended for it. Default false. */
  readonly preempt?: boolean;
}

/** Compared from the top down; the lesser is the better, but for memory. The node set earlier wins a tie. */
export interface Score {
  /** Of the same workload at the site or on the node that `spread` names; 0 without. */
  readonly beside: number;
  /** Weighted mean, one way, over `near`; 0 without. */
  readonly latencyMs: number;
  readonly sameWorkloadOnNode: number;
  readonly memoryFreeBytes: number;
}

export interface Reason {
  readonly code: ReasonCode;
  /** What is the matter, with its numbers. */
  readonly text: string;
  readonly numbers: Readonly<Record<string, number | string>>;
}

export interface Ended {
  readonly key: string;
  readonly priority: number;
  readonly memoryBytes: number;
}

export interface Placed {
  readonly outcome: 'placed';
  readonly node: string;
  readonly site: string;
  /** For the fleet's `take`. */
  readonly taking: Taking;
  readonly score: Score;
  /** What has to be ended first, the cheapest first; empty when it fits as it is. */
  readonly ends: readonly Ended[];
}

export interface BestToBeHad {
  readonly node: string;
  readonly site: string;
  /** From the farthest access point. */
  readonly latencyMs: number;
  readonly accessPoint: string;
}

export interface Refused {
  readonly outcome: 'refused';
  /** The commonest reason; `no_nodes` when there is none. */
  readonly code: ReasonCode;
  /** For people: how many nodes were turned down for what, and what to do. */
  readonly text: string;
  /** The first reason of each node, counted, the commonest first. */
  readonly reasons: readonly {
    readonly code: ReasonCode;
    readonly nodes: number;
    readonly example: string;
  }[];
  /** With `maxLatencyMs`: what could be had without that bound. */
  readonly best?: BestToBeHad;
}

export type Placement = Placed | Refused;
