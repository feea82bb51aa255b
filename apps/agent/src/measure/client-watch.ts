/** Keeps an ear on the node's access interfaces, and opens it again where it was lost. Runs only where there are such interfaces. */
import type { DesiredNetwork, Sighting } from '@skerry/contract';
import { asSkerryError, type SkerryError } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { type AccessInterface, type HeardNeighbour, Sightings } from './sightings.ts';

export interface NeighbourEar {
  heard(neighbour: HeardNeighbour): void;
  listed(neighbours: readonly HeardNeighbour[]): void;
  ended(error: SkerryError): void;
}
/** `watchNeighbours` of `@skerry/host`. Errors: host_missing, host_command_failed. */
export type NeighbourPort = (interfaces: readonly string[], ear: NeighbourEar) => Promise<{ close(): void }>;

export interface ClientWatchOptions {
  readonly interfaces: readonly AccessInterface[];
  readonly watch: NeighbourPort;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tell: (sightings: readonly Sighting[]) => Promise<void>;
}

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

export class ClientWatch {
  readonly #options: ClientWatchOptions;
  readonly #sightings: Sightings;
  #ear: { close(): void } | undefined;
  #cancel: (() => void) | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #isClosed = false;

  constructor(options: ClientWatchOptions) {
    this.#options = options;
    this.#sightings = new Sightings(options);
  }

  start(): void {
    if (this.#options.interfaces.length > 0) void this.#open();
  }

  settled(clients: NonNullable<DesiredNetwork['clients']>): void {
    this.#sightings.settled(clients);
  }

  /** A controller listens. */
  begun(): void {
    this.#sightings.begun();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#ear?.close();
    this.#sightings.close();
  }

  async #open(): Promise<void> {
    const { interfaces, watch } = this.#options;
    const names = interfaces.map((one) => one.interface);
    try {
      const ear = await watch(names, {
        heard: (neighbour) => this.#sightings.heard(neighbour),
        listed: (neighbours) => {
          this.#pauseMs = FIRST_PAUSE_MS;
          this.#sightings.listed(neighbours);
        },
        ended: (error) => this.#again(error),
      });
      if (this.#isClosed) ear.close();
      else this.#ear = ear;
    } catch (error) {
      this.#again(asSkerryError(error));
    }
  }

  #again(error: SkerryError): void {
    if (this.#isClosed) return;
    this.#options.logger.warn({ err: error }, 'clients that appear are not seen; trying again');
    this.#cancel?.();
    this.#cancel = this.#options.clock.after(this.#pauseMs, () => void this.#open());
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
  }
}
