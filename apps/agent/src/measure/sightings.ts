/**
 * Clients that appear: an address that the kernel heard at an interface that serves an access point, told to the controller
 * once. What it agrees with (the client is listed as attached there) is not told again; what it does not, because the address
 * is nobody's it knows or a node is not believed, is told again ever more seldom. Talks to no kernel: it is told.
 *
 *   new, or at another access point --told--> waits --the controller lists it there--> agreed --listed no more--> may be told
 */
import type { DesiredNetwork, Sighting } from '@skerry/contract';
import { canonicalAddress } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';

export interface AccessInterface {
  readonly interface: string;
  readonly accessPoint: string;
}

/** `@skerry/host` tells such. */
export interface HeardNeighbour {
  readonly address: string;
  readonly interface: string;
  readonly state: 'reachable' | 'stale' | 'delay' | 'probe' | 'incomplete' | 'failed' | 'gone';
  readonly mac?: string;
}

export interface SightingsOptions {
  readonly interfaces: readonly AccessInterface[];
  readonly clock: Clock;
  /** Errors: unavailable while no controller listens; it is told again by `begun`. */
  readonly tell: (sightings: readonly Sighting[]) => Promise<void>;
}

/** Those that come together are told together. */
const TELL_MS = 50;
const AGAIN_MS = 5000;
const SELDOM_MS = 300_000;
/** Of addresses that are kept in mind; one access network is smaller, and a flood of invented ones costs no more. */
export const MOST_ADDRESSES = 4096;
/** In one message. */
export const MOST_AT_ONCE = 500;
/** A client that was seen longer ago may be anywhere by now. */
const OLDEST_MS = 3_600_000;

interface Seen {
  readonly accessPoint: string;
  readonly atMs: number;
  /** Undefined: it is still to be told. */
  toldAtMs: number | undefined;
  /** From then on until it is told again, while the controller does not agree. */
  pauseMs: number;
}

/** Puts it at the end of a map that has room for so many: what was longest there goes. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= MOST_ADDRESSES) return;
    map.delete(oldest);
  }
}

const isLinkLocal = (address: string) => /^(fe[89ab]|169\.254\.)/i.test(address);

export class Sightings {
  readonly #options: SightingsOptions;
  readonly #accessPoints: ReadonlyMap<string, string>;
  /** Entries of the kernel's table by interface and address, with the link layer's address. */
  readonly #present = new Map<string, string>();
  readonly #seen = new Map<string, Seen>();
  #settled = new Map<string, string | undefined>();
  #isListed = false;
  #isTelling = false;
  #cancelTell: (() => void) | undefined;
  #isClosed = false;

  constructor(options: SightingsOptions) {
    this.#options = options;
    this.#accessPoints = new Map(options.interfaces.map((one) => [one.interface, one.accessPoint]));
  }

  heard(neighbour: HeardNeighbour): void {
    const { address, state, mac } = neighbour;
    const accessPoint = this.#accessPoints.get(neighbour.interface);
    if (accessPoint === undefined || isLinkLocal(address)) return;
    const key = `${neighbour.interface} ${address}`;
    const before = this.#present.get(key);
    if (mac === undefined || state === 'gone' || state === 'failed' || state === 'incomplete') {
      this.#present.delete(key);
      return;
    }
    keep(this.#present, key, mac);
    // An entry that is new was made by what the client sent; of an old one only an answer tells that it is here.
    if (state === 'reachable' || before !== mac) this.#see(address, accessPoint);
  }

  /** The kernel's table as it is. The first one tells of the time before: who did not answer lately may be gone. */
  listed(neighbours: readonly HeardNeighbour[]): void {
    const there = new Set(neighbours.map((one) => `${one.interface} ${one.address}`));
    for (const key of this.#present.keys()) if (!there.has(key)) this.#present.delete(key);
    for (const one of neighbours) {
      const key = `${one.interface} ${one.address}`;
      const isOld = !this.#isListed && one.state !== 'reachable';
      if (isOld && one.mac !== undefined && !this.#present.has(key)) keep(this.#present, key, one.mac);
      else if (!this.#present.has(key)) this.heard(one);
    }
    this.#isListed = true;
  }

  /** What the controller says of clients at this node's site. */
  settled(clients: NonNullable<DesiredNetwork['clients']>): void {
    this.#settled = new Map(
      clients.flatMap(({ address, address6, accessPoint }) =>
        [address, ...(address6 === undefined ? [] : [address6])].map(
          (one) => [canonicalAddress(one), accessPoint] as const,
        ),
      ),
    );
    for (const address of this.#settled.keys()) {
      const seen = this.#seen.get(address);
      if (seen && this.#agreed(address, seen.accessPoint)) seen.pauseMs = 0;
    }
  }

  /** A controller listens, after none did. */
  begun(): void {
    this.#tellSoon();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTell?.();
  }

  #agreed(address: string, accessPoint: string): boolean {
    return this.#settled.get(address) === accessPoint;
  }

  #see(address: string, accessPoint: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    const before = this.#seen.get(address);
    const isSame = before?.accessPoint === accessPoint;
    if (isSame && before.toldAtMs !== undefined) {
      if (this.#agreed(address, accessPoint) || nowMs - before.toldAtMs < before.pauseMs) return;
    }
    const pauseMs = isSame ? before.pauseMs : 0;
    keep(this.#seen, address, { accessPoint, atMs: nowMs, toldAtMs: undefined, pauseMs });
    this.#tellSoon();
  }

  #tellSoon(): void {
    if (this.#cancelTell || this.#isClosed) return;
    this.#cancelTell = this.#options.clock.after(TELL_MS, () => {
      this.#cancelTell = undefined;
      void this.#tell();
    });
  }

  async #tell(): Promise<void> {
    if (this.#isTelling || this.#isClosed) return;
    const nowMs = this.#options.clock.monotonicMs();
    const untold = [...this.#seen].filter(([, { toldAtMs }]) => toldAtMs === undefined);
    for (const [address, { atMs }] of untold) if (nowMs - atMs > OLDEST_MS) this.#seen.delete(address);
    const due = untold.filter(([address]) => this.#seen.has(address)).slice(0, MOST_AT_ONCE);
    if (due.length === 0) return;
    this.#isTelling = true;
    try {
      await this.#options.tell(
        due.map(([address, { accessPoint, atMs }]) => ({
          ...{ address, accessPoint, ageMs: Math.round(nowMs - atMs) },
        })),
      );
    } catch {
      this.#isTelling = false; // nobody listened: told with the next one that is seen, or when somebody does
      return;
    }
    this.#isTelling = false;
    for (const [address, seen] of due) {
      seen.toldAtMs = nowMs;
      const isAgreed = this.#agreed(address, seen.accessPoint);
      seen.pauseMs = isAgreed ? 0 : Math.min(SELDOM_MS, Math.max(AGAIN_MS, seen.pauseMs * 2));
    }
    if ([...this.#seen.values()].some(({ toldAtMs }) => toldAtMs === undefined)) this.#tellSoon();
  }
}
