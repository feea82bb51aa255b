/**
 * Measures how far other nodes and attached clients are, by an echo now and then, each at its own moment. Nodes to which
 * packets are led are asked every second, so that one that falls silent is noticed within three; all others seldom.
 *
 *   answers --two in a row are lost (eager) or three (calm)--> silent --one answers--> answers
 */
import type { Measurement } from '@skerry/contract';
import type { Clock } from '@skerry/reconcile';
import { type Figures, isNews, RoundTripWindow } from './figures.ts';

export interface Target {
  readonly kind: 'node' | 'client';
  readonly name: string;
  readonly address: string;
  /** Packets are led there. */
  readonly eager: boolean;
}

/** `@skerry/host` has one. */
export interface EchoPort {
  /** Microseconds; undefined when no answer came within a second. */
  ask(address: string): Promise<number | undefined>;
  /** Resolves when nobody can be asked any more. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface RoundTripsOptions {
  readonly echo: EchoPort;
  /** What the kernel knows of a client's connections, in microseconds: asked for one that answers no echo. */
  readonly tcp?: (address: string) => Promise<number | undefined>;
  readonly clock: Clock;
  readonly random: () => number;
  /** A node fell silent, or answers again. */
  readonly onReachable: () => void;
  readonly tell: (measurements: readonly Measurement[]) => Promise<void>;
}

const EAGER_MS = 1000;
const CALM_MS = 5000;
/** Of a calm target that does not answer: longer and longer. */
const SILENT_MS = 60_000;
const AGAIN_MS = 300;
const EAGER_LOSSES = 2;
const CALM_LOSSES = 3;
/** Beyond, targets are asked as calm ones; beyond the second, not at all. */
export const MOST_EAGER = 32;
export const MOST_TARGETS = 512;
/** What is worth telling is told together. */
const TELL_MS = 5000;
/** Told again though nothing changed, so that its age says whether the target is still measured. */
const STALE_MS = 60_000;

interface Asked {
  target: Target;
  by: 'icmp' | 'tcp';
  window: RoundTripWindow;
  /** Echoes without an answer, since the last that had one. */
  unanswered: number;
  silent: boolean;
  pauseMs: number;
  atMs: number;
  told: Figures | undefined;
  toldAtMs: number;
  cancel: (() => void) | undefined;
}

const keyOf = ({ kind, name }: Pick<Target, 'kind' | 'name'>) => `${kind} ${name}`;

export class RoundTrips {
  readonly #options: RoundTripsOptions;
  readonly #asked = new Map<string, Asked>();
  #cancelTell: (() => void) | undefined;
  #isClosed = false;

  constructor(options: RoundTripsOptions) {
    this.#options = options;
  }

  /** In place of those before. What is known of one that stays at its address is kept. */
  setTargets(targets: readonly Target[]): void {
    if (this.#isClosed) return;
    let eager = 0;
    const wanted = new Map<string, Target>();
    for (const target of targets.slice(0, MOST_TARGETS)) {
      const isEager = target.eager && ++eager <= MOST_EAGER;
      wanted.set(keyOf(target), { ...target, eager: isEager });
    }
    for (const [key, one] of this.#asked) {
      const target = wanted.get(key);
      if (target && target.address === one.target.address) {
        const hurries = target.eager && !one.target.eager;
        one.target = target;
        if (hurries) this.#askIn(one, 0);
        wanted.delete(key);
      } else {
        one.cancel?.();
        this.#asked.delete(key);
      }
    }
    for (const [key, target] of wanted) {
      const one: Asked = {
        ...{ target, by: 'icmp', window: new RoundTripWindow(), unanswered: 0 },
        ...{ silent: false, pauseMs: CALM_MS, atMs: 0 },
        ...{ told: undefined, toldAtMs: 0, cancel: undefined },
      };
      this.#asked.set(key, one);
      this.#askIn(one, target.eager ? 0 : this.#options.random() * CALM_MS);
    }
  }

  /** False: it was asked and does not answer. Of one that nobody measures: true. */
  reachable(node: string): boolean {
    return this.#asked.get(keyOf({ kind: 'node', name: node }))?.silent !== true;
  }

  /** Half of the round trip to a node, in microseconds; undefined while it is not known. */
  oneWayUs(node: string): number | undefined {
    const figures = this.#asked.get(keyOf({ kind: 'node', name: node }))?.window.read();
    return figures && Math.round(figures.medianUs / 2);
  }

  /** Somebody listens anew, who knows nothing. */
  tellAll(): void {
    for (const one of this.#asked.values()) one.told = undefined;
    this.#tellSoon();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTell?.();
    for (const one of this.#asked.values()) one.cancel?.();
    this.#asked.clear();
  }

  #askIn(one: Asked, ms: number): void {
    one.cancel?.();
    if (this.#isClosed) return;
    one.cancel = this.#options.clock.after(ms, () => void this.#ask(one));
  }

  async #ask(one: Asked): Promise<void> {
    const us = await this.#measure(one);
    if (this.#isClosed || this.#asked.get(keyOf(one.target)) !== one) return;
    one.window.add(us);
    one.atMs = this.#options.clock.monotonicMs();
    const { eager } = one.target;
    const lost = one.window.lostInARow;
    const silent = lost >= (eager ? EAGER_LOSSES : CALM_LOSSES) || (one.silent && lost > 0);
    if (silent !== one.silent) {
      one.silent = silent;
      if (one.target.kind === 'node') this.#options.onReachable();
    }
    one.pauseMs = silent ? Math.min(SILENT_MS, one.pauseMs * 2) : CALM_MS;
    const usual = eager ? EAGER_MS : one.pauseMs;
    const doubts = lost > 0 && !silent;
    // a tenth earlier or later: many who began together do not stay so
    this.#askIn(one, doubts ? AGAIN_MS : usual * (0.9 + 0.2 * this.#options.random()));
    if (this.#isWorthTelling(one)) this.#tellSoon();
  }

  async #measure(one: Asked): Promise<number | undefined> {
    const { kind, address } = one.target;
    const echoed = await this.#options.echo.ask(address);
    one.unanswered = echoed === undefined ? one.unanswered + 1 : 0;
    // Many phones and routers answer no echo: the kernel has figures of those that talk to a guest.
    const isMute = kind === 'client' && one.unanswered >= CALM_LOSSES;
    const known = isMute ? await this.#options.tcp?.(address) : undefined;
    const by = known === undefined ? 'icmp' : 'tcp';
    if (by !== one.by && (known ?? echoed) !== undefined) {
      one.by = by;
      one.told = undefined;
      one.window = new RoundTripWindow();
    }
    return known ?? echoed;
  }

  #isWorthTelling(one: Asked): boolean {
    const now = one.window.read();
    if (!now) return false;
    return isNews(one.told, now) || this.#options.clock.monotonicMs() - one.toldAtMs > STALE_MS;
  }

  #tellSoon(): void {
    if (this.#cancelTell || this.#isClosed) return;
    this.#cancelTell = this.#options.clock.after(TELL_MS, () => {
      this.#cancelTell = undefined;
      void this.#tell();
    });
  }

  async #tell(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const due = [...this.#asked.values()].filter((one) => this.#isWorthTelling(one));
    if (due.length === 0) return;
    const measurements = due.map((one): Measurement => {
      const figures = one.window.read()!;
      const { kind, name } = one.target;
      return { kind, name, by: one.by, ...figures, ageMs: Math.max(0, Math.round(nowMs - one.atMs)) };
    });
    for (const one of due) {
      one.told = one.window.read();
      one.toldAtMs = nowMs;
    }
    try {
      await this.#options.tell(measurements);
    } catch {
      for (const one of due) one.told = undefined; // nobody listened: told again with the next change
    }
  }
}
