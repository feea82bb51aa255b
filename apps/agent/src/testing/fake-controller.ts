/**
 * The controller's end of the link, for tests: it hands out desired states with rising generations, keeps what is
 * reported, and forgets an instance that is reported absent, as the real one does.
 */
import type {
  ControllerLink,
  DesiredInstance,
  DesiredNetwork,
  DesiredState,
  InstanceReport,
  LeaseGrant,
  LeaseRequest,
  NodeReport,
  VolumeReport,
} from '@skerry/contract';
import { type Id, newId, SkerryError, type WorkloadSpec } from '@skerry/model';
import type { Life } from './life.ts';

type Uid = Id<'instance'>;
type Present = Extract<InstanceReport, { state: 'present' }>;

export interface Wish {
  readonly run?: 'running' | 'stopped';
  readonly template?: Partial<WorkloadSpec>;
  readonly imageDigest?: string;
  readonly lease?: { readonly epoch: number; readonly forMs: number };
}

export class FakeController {
  readonly instances = new Map<Uid, DesiredInstance>();
  readonly volumes = new Map<Id<'volume'>, DesiredState['volumes'][number]>();
  readonly statuses = new Map<Uid, Present['status']>();
  readonly events = new Map<Uid, string[]>();
  readonly volumeReports = new Map<string, VolumeReport>();
  registered: NodeReport | undefined;
  observedGeneration = 0;
  reports = 0;
  reachable = true;
  leases: (request: LeaseRequest) => LeaseGrant[] = () => [];
  #network: DesiredNetwork | undefined;
  #generation = 0;
  #changed = new Set<() => void>();

  get state(): DesiredState {
    const generation = this.#generation;
    return {
      generation,
      instances: [...this.instances.values()],
      volumes: [...this.volumes.values()],
      images: [],
      ...(this.#network && { network: this.#network }),
    };
  }

  set network(network: DesiredNetwork) {
    this.#network = network;
    this.#publish();
  }

  add(name: string, wish: Wish = {}): Uid {
    const uid = newId<'instance'>();
    const taken = new Set([...this.instances.values()].map(({ spec }) => spec.network?.slot));
    let slot = 2;
    while (taken.has(slot)) slot++; // the first that is free again
    const template = { runtime: 'container', image: 'hello:1', ...wish.template } as WorkloadSpec;
    this.instances.set(uid, {
      ...{ uid, name, project: 'default', generation: 1, deleted: false },
      spec: {
        ...{ workload: name, workloadUid: 'w', ordinal: 0, template, templateGeneration: 1 },
        imageDigest: wish.imageDigest ?? 'sha256:good',
        network: {
          address: `10.99.0.${slot}`,
          mac: `02:00:00:00:00:${slot.toString(16).padStart(2, '0')}`,
          slot,
        },
        ...{ run: wish.run ?? 'running', restarts: 0, rebuilds: 0 },
        ...(wish.lease && { lease: wish.lease }),
      },
    });
    this.#publish();
    return uid;
  }

  change(
    uid: Uid,
    change: Omit<Partial<DesiredInstance['spec']>, 'template'> & {
      readonly template?: Partial<WorkloadSpec>;
    },
  ): void {
    const old = this.instances.get(uid)!;
    const template = { ...old.spec.template, ...change.template };
    this.instances.set(uid, {
      ...old,
      generation: old.generation + 1,
      spec: { ...old.spec, ...change, template },
    });
    this.#publish();
  }

  restart(uid: Uid): void {
    this.change(uid, { restarts: this.instances.get(uid)!.spec.restarts + 1 });
  }

  delete(uid: Uid): void {
    this.instances.set(uid, { ...this.instances.get(uid)!, deleted: true });
    this.#publish();
  }

  addVolume(name: string): Id<'volume'> {
    const uid = newId<'volume'>();
    this.volumes.set(uid, { uid, project: 'default', name, sizeBytes: 1024, deleted: false });
    this.#publish();
    return uid;
  }

  deleteVolume(uid: Id<'volume'>): void {
    this.volumes.set(uid, { ...this.volumes.get(uid)!, deleted: true });
    this.#publish();
  }

  /** Every session ends; new ones are refused until `reachable` is set again. */
  cutOff(): void {
    this.reachable = false;
    for (const wake of this.#changed) wake();
  }

  link(life: Life): ControllerLink {
    return {
      register: (report) =>
        life.call(() => {
          this.#reach();
          this.registered = report;
        }),
      desired: (_node, signal) => this.#desired(life, signal),
      measure: async () => undefined,
      sighted: async () => undefined,
      lease: (_node, request) =>
        life.call(() => {
          this.#reach();
          return this.leases(request);
        }),
      report: (_node, observed) =>
        life.call(() => {
          this.#reach();
          this.reports++;
          this.observedGeneration = observed.generation;
          for (const report of observed.instances) this.#take(report);
          for (const report of observed.volumes) this.volumeReports.set(report.uid, report);
        }),
    };
  }

  #take(report: InstanceReport): void {
    const { uid } = report;
    if (report.state === 'present') {
      this.statuses.set(uid, report.status);
      const reasons = report.events.map(({ reason }) => reason);
      this.events.set(uid, [...(this.events.get(uid) ?? []), ...reasons]);
      return;
    }
    this.statuses.delete(uid);
    if (this.instances.get(uid)?.deleted) {
      this.instances.delete(uid);
      this.#publish();
    }
  }

  #reach(): void {
    if (!this.reachable) throw new SkerryError('unavailable', 'the controller can not be reached');
  }

  #publish(): void {
    this.#generation++;
    for (const wake of this.#changed) wake();
  }

  async *#desired(life: Life, signal: AbortSignal): AsyncIterable<DesiredState> {
    let told = -1;
    let wake = () => {};
    const call = () => wake();
    this.#changed.add(call);
    signal.addEventListener('abort', call, { once: true });
    try {
      while (!signal.aborted && !life.dead) {
        this.#reach();
        if (told !== this.#generation) {
          told = this.#generation;
          yield this.state;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#changed.delete(call);
    }
  }
}
