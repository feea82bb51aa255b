/** What placement has to know of a node and of what an instance takes of it. Types only. */
import type { RuntimeKind } from '@skerry/model';

export interface Taint {
  readonly key: string;
  readonly value?: string;
}
export interface Toleration {
  readonly key: string;
  /** Absent: any value. */
  readonly value?: string;
}

export interface NodeRuntime {
  /** Memory that each guest of this kind takes beside its own. */
  readonly overheadBytes: number;
  /** Whether it runs on the hardware (KVM), not emulated. Containers always do. */
  readonly accelerated: boolean;
}

export interface FleetNode {
  readonly name: string;
  readonly site?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly Taint[];
  readonly runtimes: Readonly<Partial<Record<RuntimeKind, NodeRuntime>>>;
  /** Why a runtime is missing, to be told to people: `/dev/kvm is not there`. */
  readonly lacks?: Readonly<Partial<Record<RuntimeKind, string>>>;
  /** Networks that a guest may have a further card on. */
  readonly networks?: readonly string[];
  readonly cpus: number;
  /** Times that each processor is promised; default 1. */
  readonly cpuOvercommit?: number;
  readonly memoryBytes: number;
  /** Memory that is kept for the system; default 0. */
  readonly reservedBytes?: number;
  readonly diskBytes: number;
  /** Addresses for instances; default no bound. */
  readonly addresses?: number;
  readonly ready: boolean;
  readonly schedulable: boolean;
}

/** Near what, or away from what: instances of a group, on the same node or at the same site. */
export interface GroupTerm {
  /** What instances are counted by: a workload (`default/web`), or a label of its instances (`default/app=web`). */
  readonly group: string;
  readonly at: 'site' | 'node';
}

export interface Taking {
  readonly node: string;
  readonly cpus: number;
  /** With the runtime's overhead. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** `tcp/8080` on the node. */
  readonly ports?: readonly string[];
  readonly groups?: readonly string[];
  /** Groups that are kept away for as long as this is there. */
  readonly repels?: readonly GroupTerm[];
  /** Default 0. */
  readonly priority?: number;
  /** 0 for what takes no address (a volume); default 1. */
  readonly addresses?: number;
}
