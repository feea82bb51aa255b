/**
 * Tells the controller how things stand: what changed since the last acknowledgement, all in one report, one report at
 * a time. What was not acknowledged is told again; after a start of the agent everything counts as changed.
 * Without a link it only remembers what is due.
 */
import type { AgentEvent, ControllerLink, InstanceReport, VolumeReport } from '@skerry/contract';
import type { Id } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';

type Uid = Id<'instance'>;

/** A start that takes no longer is one report, not three. */
const PASSING_MS = 30;

export interface ReporterOptions {
  readonly node: string;
  readonly clock: Clock;
  /** The generation of desired state that the agent goes by. */
  readonly generation: () => number;
  /** As it is now; undefined: it went meanwhile. */
  readonly present: (uid: Uid) => Extract<InstanceReport, { state: 'present' }> | undefined;
  /** The controller has stored these events. */
  readonly acknowledged: (uid: Uid, events: readonly AgentEvent[]) => void;
}

export class Reporter {
  readonly #options: ReporterOptions;
  #present = new Set<Uid>();
  #absent = new Set<Uid>();
  #volumes = new Map<Id<'volume'>, VolumeReport>();
  #generationDue = false;
  /** What the controller of this link has stored last: the same need not be told twice. */
  #told = new Map<Uid, string>();
  #link: ControllerLink | undefined;
  #onError: (error: unknown) => void = () => {};
  #sending = false;
  #cancelTimer: (() => void) | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** `passing`: the instance is on its way; what it reaches within a moment goes along with this. */
  present(uid: Uid, passing = false): void {
    this.#present.add(uid);
    if (!passing) this.#kick();
    else if (this.#link) this.#cancelTimer ??= this.#options.clock.after(PASSING_MS, () => this.#kick());
  }

  absent(uid: Uid): void {
    this.#present.delete(uid);
    this.#absent.add(uid);
    this.#kick();
  }

  volume(report: VolumeReport): void {
    this.#volumes.set(report.uid, report);
    this.#kick();
  }

  generation(): void {
    this.#generationDue = true;
    this.#kick();
  }

  /**
   * From now on reports go out, all that was told before among them: the controller may have taken the node for lost
   * meanwhile, and what ran on it. `onError` hears of the first that failed, and sending rests until the next link.
   */
  attach(link: ControllerLink, onError: (error: unknown) => void): void {
    this.#link = link;
    for (const uid of this.#told.keys()) this.#present.add(uid);
    this.#told = new Map();
    this.#onError = onError;
    this.#kick();
  }

  detach(): void {
    this.#endTimer();
    this.#link = undefined;
  }

  get due(): boolean {
    return this.#present.size + this.#absent.size + this.#volumes.size > 0 || this.#generationDue;
  }

  #endTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #kick(): void {
    this.#endTimer();
    if (this.#sending || !this.#link || !this.due) return;
    this.#sending = true;
    queueMicrotask(() => void this.#drain()); // what changes in the same turn goes along
  }

  async #drain(): Promise<void> {
    try {
      while (this.#link && this.due) await this.#send(this.#link);
    } catch (error) {
      this.#link = undefined;
      this.#onError(error);
    } finally {
      this.#sending = false;
    }
    this.#kick(); // a new link may have come while the old one's report was under way
  }

  async #send(link: ControllerLink): Promise<void> {
    const [present, absent, volumes] = [this.#present, this.#absent, this.#volumes];
    this.#present = new Set();
    this.#absent = new Set();
    this.#volumes = new Map();
    const generationDue = this.#generationDue;
    this.#generationDue = false;
    const reports = [...present]
      .flatMap((uid) => this.#options.present(uid) ?? [])
      .filter(
        ({ uid, status, events }) => events.length > 0 || this.#told.get(uid) !== JSON.stringify(status),
      );
    if (reports.length + absent.size + volumes.size === 0 && !generationDue) return;
    try {
      await link.report(this.#options.node, {
        generation: this.#options.generation(),
        instances: [...reports, ...[...absent].map((uid) => ({ uid, state: 'absent' as const }))],
        volumes: [...volumes.values()],
      });
    } catch (error) {
      for (const uid of present) if (!this.#absent.has(uid)) this.#present.add(uid);
      for (const uid of absent) this.#absent.add(uid);
      for (const [uid, report] of volumes) if (!this.#volumes.has(uid)) this.#volumes.set(uid, report);
      this.#generationDue = true;
      throw error;
    }
    for (const { uid, status } of reports) this.#told.set(uid, JSON.stringify(status));
    for (const uid of absent) this.#told.delete(uid);
    for (const { uid, events } of reports) if (events.length > 0) this.#options.acknowledged(uid, events);
  }
}
