/**
 * Which desired state the node goes by, and when one counts as survived.
 *
 *   accepted --all actors came to rest--> settled (the good one)
 *   started too often without that --> hold: the good one is gone by, gently, until holdMs are over or a newer one comes
 */
import type { DesiredState } from '@skerry/contract';
import { asSkerryError, formatMillis, type Id } from '@skerry/model';
import type { AttachRequest } from '@skerry/network';
import type { Clock } from '@skerry/reconcile';
import { attachRequestOf } from '../guests/resolve.ts';
import type { Leases } from '../lease/leases.ts';
import type { DesiredLedger } from '../ledger/desired-ledger.ts';
import type { Logger, Tuning } from '../ports.ts';
import type { Reporter } from '../report/reporter.ts';
import type { GuestTable } from './guest-table.ts';
import type { ImageKeeper } from './image-keeper.ts';
import type { VolumeTable } from './volume-table.ts';

export interface DesiredSyncOptions {
  readonly ledger: DesiredLedger;
  readonly guests: GuestTable;
  readonly leases: Pick<Leases, 'wish'>;
  readonly volumes: VolumeTable;
  readonly images?: Pick<ImageKeeper, 'wish'>;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tuning: Pick<Tuning, 'suspectBoots' | 'holdMs'>;
  readonly ending: AbortSignal;
  /** What the node goes by may be another now. */
  readonly applied: () => void;
}

const EMPTY: DesiredState = { generation: 0, instances: [], volumes: [], images: [] };

export class DesiredSync {
  readonly #options: DesiredSyncOptions;
  #cancelHold: (() => void) | undefined;
  #holding = false;
  /** Nothing is settled before every engine has been tried: a rest without engines proves nothing. */
  #ready = false;

  constructor(options: DesiredSyncOptions) {
    this.#options = options;
  }

  get holding(): boolean {
    return this.#holding;
  }

  /** What the node goes by at present. */
  get state(): DesiredState {
    const { current, good } = this.#options.ledger;
    return (this.#holding ? good : current) ?? EMPTY;
  }

  knows(uid: Id<'instance'>): boolean {
    return this.#options.ledger.current?.instances.some((instance) => instance.uid === uid) ?? false;
  }

  /**
   * What must stay on the network: whatever is attached by the records, and whatever may be by what is desired. Not by the good
   * state of before: what the present one no longer names was told to be gone, and its slot may have been given away since.
   */
  keep(): AttachRequest[] {
    const requests = new Map<string, AttachRequest>();
    for (const desired of this.#options.ledger.current?.instances ?? []) {
      const request = attachRequestOf(desired); // also of what is to go: it may still run
      if (request) requests.set(desired.uid, request);
    }
    for (const { record } of this.#options.guests.all()) {
      if (record.attach) requests.set(record.uid, record.attach);
    }
    return [...requests.values()];
  }

  /** The first wishes after the agent's start; nothing without a ledger. */
  async begin(): Promise<void> {
    const { ledger, tuning, logger } = this.#options;
    if (!ledger.current) return this.#options.guests.begun();
    const boots = await ledger.countBoot();
    if (boots > tuning.suspectBoots && ledger.good && ledger.good.generation < ledger.current.generation) {
      const { generation } = ledger.current;
      logger.error(
        { generation, boots, back: ledger.good.generation },
        'the agent kept ending on its desired state',
      );
      this.#holdOn();
    }
    this.#apply();
    this.#options.guests.begun();
  }

  /** All engines have been tried: from now on rest means rest. */
  ready(): void {
    this.#ready = true;
    this.#settleAtRest();
  }

  /** Resolves when the state is durable and the actors have their wishes. Errors: store_full. */
  async accept(state: DesiredState): Promise<void> {
    const result = await this.#options.ledger.accept(state);
    if (result === 'older') {
      const { generation } = state;
      this.#options.logger.warn(
        { generation, known: this.#options.ledger.current?.generation },
        'refused an older desired state',
      );
    }
    if (result !== 'accepted' || this.#options.ending.aborted) return;
    this.#endHold();
    this.#apply();
    this.#settleAtRest();
  }

  close(): void {
    this.#cancelHold?.();
  }

  #apply(): void {
    const { guests, leases, volumes, reporter } = this.#options;
    leases.wish(this.state);
    this.#wishImages();
    volumes.wish(this.state.volumes);
    guests.wish(this.state, { hold: this.#holding, partial: this.#holding });
    reporter.generation();
    this.#options.applied();
  }

  /** Those of both copies of the ledger: the good one may be gone back to. */
  #wishImages(): void {
    const { current, good } = this.#options.ledger;
    this.#options.images?.wish([current, good].filter((state) => state !== undefined));
  }

  #holdOn(): void {
    const { ledger, guests, tuning, clock } = this.#options;
    this.#holding = true;
    const good = new Map(ledger.good!.instances.map((instance) => [instance.uid, JSON.stringify(instance)]));
    const text = `the agent kept ending on desired state ${ledger.current!.generation} and went back to ${ledger.good!.generation}; it is tried again in ${formatMillis(tuning.holdMs)}`;
    for (const instance of ledger.current!.instances) {
      if (good.get(instance.uid) !== JSON.stringify(instance))
        guests.actorFor(instance).note('LedgerHeld', text);
    }
    this.#cancelHold = clock.after(tuning.holdMs, () => void this.#tryAgain());
  }

  async #tryAgain(): Promise<void> {
    this.#endHold();
    await this.#options.ledger.forgetBoots().catch((thrown) => {
      this.#options.logger.warn({ err: asSkerryError(thrown) }, 'the count of starts could not be written');
    });
    if (this.#options.ending.aborted) return;
    this.#apply();
    this.#settleAtRest();
  }

  #endHold(): void {
    this.#cancelHold?.();
    this.#cancelHold = undefined;
    this.#holding = false;
  }

  #settleAtRest(): void {
    const { guests, ledger, logger, ending } = this.#options;
    if (!this.#ready || this.#holding || !ledger.current) return;
    const { generation } = ledger.current;
    void guests
      .idle()
      .then(() => (ending.aborted || this.#holding ? undefined : ledger.settle(generation)))
      .then(() => this.#wishImages())
      .catch((thrown) =>
        logger.warn({ err: asSkerryError(thrown) }, 'the good desired state could not be written'),
      );
  }
}
