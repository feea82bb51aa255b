/**
 * The volumes that the node is to have: made when they are desired or first needed, removed when they are to be
 * deleted, and never because nobody speaks of them.
 */
import type { DesiredVolume, VolumeReport } from '@skerry/contract';
import { asSkerryError, type Id, SkerryError } from '@skerry/model';
import { type Backoff, backoffAfter, type Clock, SERVICE_BACKOFF, WorkQueue } from '@skerry/reconcile';
import type { NodeVolumes } from '../ports.ts';

export interface VolumeTableOptions {
  readonly volumes: NodeVolumes;
  readonly clock: Clock;
  readonly ending: AbortSignal;
  readonly report: (report: VolumeReport) => void;
}

export class VolumeTable {
  readonly #options: VolumeTableOptions;
  #desired = new Map<Id<'volume'>, DesiredVolume>();
  /** Made sure of since the agent's start, or just being made sure of: once at a time. */
  readonly #ready = new Map<Id<'volume'>, Promise<string>>();
  readonly #failures = new Map<Id<'volume'>, Backoff>();
  readonly #timers = new Map<Id<'volume'>, () => void>();
  readonly #queue: WorkQueue<Id<'volume'>, never, DesiredVolume>;

  constructor(options: VolumeTableOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (_uid, batch) => this.#work(batch.requests[0]!),
      onError: () => undefined, // #work reports its failures itself
    });
  }

  wish(volumes: readonly DesiredVolume[]): void {
    const before = this.#desired;
    this.#desired = new Map(volumes.map((volume) => [volume.uid, volume]));
    for (const volume of volumes) {
      const known = before.get(volume.uid);
      const same = known && known.deleted === volume.deleted && known.sizeBytes === volume.sizeBytes;
      if (!same) this.#queue.request(volume.uid, 'wish', volume);
    }
  }

  /**
   * The project's volume of this name: a folder to mount, or its raw image for a guest that has disks. Errors: not_found,
   * disk_full, in_use.
   */
  async path(project: string, name: string, form: 'folder' | 'disk'): Promise<string> {
    const volume = [...this.#desired.values()].find(
      (one) => one.project === project && one.name === name && !one.deleted,
    );
    if (!volume)
      throw new SkerryError('not_found', `the project ${project} has no volume ${name} on this node`);
    if (form === 'folder') return this.#ensure(volume);
    this.#ready.delete(volume.uid); // it is no longer mounted
    return this.#options.volumes.ensureDisk(volume, this.#options.ending);
  }

  all(): DesiredVolume[] {
    return [...this.#desired.values()];
  }

  idle(): Promise<void> {
    return this.#queue.idle();
  }

  close(): Promise<void> {
    for (const cancel of this.#timers.values()) cancel();
    return this.#queue.close();
  }

  async #work(volume: DesiredVolume): Promise<void> {
    const { volumes, report, ending } = this.#options;
    const { uid } = volume;
    this.#timers.get(uid)?.();
    this.#timers.delete(uid);
    try {
      if (volume.deleted) {
        this.#ready.delete(uid);
        await volumes.remove(uid, ending);
        report({ uid, state: 'absent' });
      } else {
        await this.#ensure(volume).catch((thrown) => {
          if (asSkerryError(thrown).code !== 'in_use') throw thrown; // a running machine has it as its disk
        });
        report({ uid, state: 'ready' });
      }
      this.#failures.delete(uid);
    } catch (thrown) {
      if (!ending.aborted) this.#failed(volume, asSkerryError(thrown));
    }
  }

  #ensure(volume: DesiredVolume): Promise<string> {
    const { volumes, ending } = this.#options;
    let path = this.#ready.get(volume.uid);
    if (!path) {
      path = volumes.ensure(volume, ending);
      this.#ready.set(volume.uid, path);
      path.catch(() => this.#ready.delete(volume.uid));
    }
    return path;
  }

  #failed(volume: DesiredVolume, error: SkerryError): void {
    const { uid } = volume;
    this.#options.report({ uid, state: 'failed', reason: error.message });
    const next = backoffAfter(SERVICE_BACKOFF, this.#failures.get(uid)?.failures ?? 0, 0);
    this.#failures.set(uid, next);
    const again = () => {
      const wanted = this.#desired.get(uid);
      if (wanted) this.#queue.request(uid, 'wish', wanted);
    };
    this.#timers.set(uid, this.#options.clock.after(next.delayMs, again));
  }
}
