/**
 * The leases of this node's single instances: asked for over the session, held by the clock since boot, and told when they
 * end. It starts and stops nothing itself: an actor asks whether its guest may run.
 *
 *   asked --granted--> held --renewed each quarter of its time--> held --no answer--> too short --> its guest is stopped in time
 */
import type { ControllerLink, DesiredInstance, DesiredState } from '@skerry/contract';
import { asSkerryError, type Id } from '@skerry/model';
import { type Clock, HeldLeases } from '@skerry/reconcile';
import { stopGraceOf } from '../guests/resolve.ts';
import type { Logger } from '../ports.ts';
import type { LeaseHost } from './port.ts';

type Uid = Id<'instance'>;

/** One that another machine may still have is asked for again this soon. */
const REFUSED_MS = 2000;

export interface LeasesOptions {
  readonly node: string;
  readonly host: LeaseHost;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ending: AbortSignal;
  /** Its guest may run from now on, or may not any more. */
  readonly changed: (uid: Uid) => void;
}

interface Wanted {
  readonly desired: DesiredInstance;
  readonly lease: { readonly epoch: number; readonly forMs: number };
  mayRun: boolean;
  cancel: () => void;
}

/** A guest is asked to end so long before its lease does. */
const budgetMs = (desired: DesiredInstance, forMs: number): number =>
  Math.min(stopGraceOf(desired.spec.template), forMs / 4);

export class Leases {
  readonly #options: LeasesOptions;
  readonly #held: HeldLeases;
  readonly #known: Set<Uid>;
  readonly #wanted = new Map<Uid, Wanted>();
  readonly #guarded = new Map<Uid, number>();
  #link: ControllerLink | undefined;
  #asking = false;
  #cancelTick = () => {};

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#held = new HeldLeases(() => options.host.nowMs());
    const before = options.host.load();
    for (const [uid, lease] of before) this.#held.hold(uid, lease);
    this.#known = new Set(before.keys());
  }

  /** Why it may not run now; undefined: it may. */
  withheld(desired: DesiredInstance): string | undefined {
    const { lease } = desired.spec;
    if (!lease || this.#leftMs(desired) > budgetMs(desired, lease.forMs)) return undefined;
    return this.#known.has(desired.uid)
      ? 'its lease is over and the controller does not renew it: another copy may be started elsewhere'
      : 'it waits for its lease from the controller: never two of it may run';
  }

  /** In which time its guest must have ended; infinite where it needs no lease. */
  endsInMs(desired: DesiredInstance): number {
    return desired.spec.lease ? this.#leftMs(desired) : Number.POSITIVE_INFINITY;
  }

  /** A guest of this process runs: it ends with its lease, whatever becomes of the agent. */
  guard({ uid, spec }: DesiredInstance, pid: number): void {
    if (!spec.lease || this.#guarded.get(uid) === pid) return;
    this.#guarded.set(uid, pid);
    const { host, logger, ending } = this.#options;
    host.guard(uid, pid, ending).catch((thrown) => {
      this.#guarded.delete(uid);
      if (!ending.aborted)
        logger.error(
          { err: asSkerryError(thrown), uid },
          'nothing watches over the lease of a guest but the agent',
        );
    });
  }

  wish(state: DesiredState): void {
    const named = new Map(
      state.instances.flatMap((desired) => (desired.spec.lease ? [[desired.uid, desired] as const] : [])),
    );
    for (const [uid, wanted] of this.#wanted) {
      if (named.has(uid)) continue;
      wanted.cancel();
      this.#wanted.delete(uid);
    }
    // the file of one that is gone stays until its guest does: what watches over it reads it
    for (const uid of this.#known) if (!named.has(uid) && !this.#guarded.has(uid)) this.#forget(uid);
    for (const [uid, desired] of named) {
      const known = this.#wanted.get(uid);
      known?.cancel();
      const wanted: Wanted = {
        desired,
        lease: desired.spec.lease!,
        mayRun: known?.mayRun ?? false,
        cancel: () => {},
      };
      this.#wanted.set(uid, wanted);
      this.#expect(wanted);
    }
    this.#ask();
  }

  /** Nothing is left of its guest. */
  gone(uid: Uid): void {
    this.#guarded.delete(uid);
    if (!this.#wanted.has(uid)) this.#forget(uid);
  }

  attach(link: ControllerLink): void {
    this.#link = link;
    this.#ask();
  }

  detach(): void {
    this.#link = undefined;
    this.#cancelTick();
  }

  close(): void {
    this.detach();
    for (const { cancel } of this.#wanted.values()) cancel();
  }

  #leftMs({ uid, spec }: DesiredInstance): number {
    return spec.lease ? this.#held.leftMs(uid, spec.lease.epoch) : 0;
  }

  #forget(uid: Uid): void {
    this.#held.drop(uid);
    this.#known.delete(uid);
    this.#options.host.remove(uid);
  }

  /** Tells when the guest may run, or may not any more, and waits for the end of its time. */
  #expect(wanted: Wanted): void {
    const { desired, lease } = wanted;
    wanted.cancel();
    wanted.cancel = () => {};
    const mayRun = this.withheld(desired) === undefined;
    if (mayRun) {
      const inMs = this.#leftMs(desired) - budgetMs(desired, lease.forMs);
      wanted.cancel = this.#options.clock.after(inMs, () => this.#expect(wanted));
    }
    if (mayRun === wanted.mayRun) return;
    wanted.mayRun = mayRun;
    this.#options.changed(desired.uid);
  }

  #ask(): void {
    this.#cancelTick();
    const link = this.#link;
    if (this.#asking || !link || this.#wanted.size === 0) return;
    this.#asking = true;
    void this.#askOnce(link)
      .catch((thrown) =>
        this.#options.logger.debug({ err: asSkerryError(thrown) }, 'leases were not renewed'),
      )
      .finally(() => {
        this.#asking = false;
        this.#cancelTick();
        if (this.#link) this.#cancelTick = this.#options.clock.after(this.#nextMs(), () => this.#ask());
      });
  }

  async #askOnce(link: ControllerLink): Promise<void> {
    const { node, host } = this.#options;
    const askedMs = host.nowMs();
    const leases = [...this.#wanted.values()].map(({ desired, lease }) => ({
      uid: desired.uid,
      epoch: lease.epoch,
      holds: this.#leftMs(desired) > 0,
    }));
    const epochs = new Map(leases.map(({ uid, epoch }) => [uid, epoch]));
    for (const { uid, forMs } of await link.lease(node, { holder: host.holder, leases })) {
      const epoch = epochs.get(uid);
      const wanted = this.#wanted.get(uid);
      if (epoch === undefined || !wanted) continue;
      const lease = this.#held.extended(uid, epoch, askedMs, forMs);
      host.save(uid, lease); // what could not be written down is not held
      this.#held.hold(uid, lease);
      this.#known.add(uid);
      this.#expect(wanted);
    }
  }

  #nextMs(): number {
    const each = [...this.#wanted.values()].map(({ mayRun, lease }) =>
      mayRun ? lease.forMs / 4 : Math.min(REFUSED_MS, lease.forMs / 4),
    );
    return Math.min(...each, 60_000);
  }
}
