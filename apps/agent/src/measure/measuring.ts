/**
 * What the node measures, by its desired state: the nodes that packets are led to, other peers, attached clients. Nothing is
 * sent and no program runs while there is nobody to be measured.
 */
import type { DesiredNetwork, Measurement } from '@skerry/contract';
import { asSkerryError } from '@skerry/model';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { type EchoPort, RoundTrips, type Target } from './round-trips.ts';
import { TcpFigures, type TcpPort } from './tcp-figures.ts';

export interface MeasuringOptions {
  readonly node: string;
  readonly open: () => Promise<EchoPort>;
  /** Absent: only echoes are asked. */
  readonly tcp?: TcpPort;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Who is reachable, or how near, may be another now. */
  readonly onChange: () => void;
  /** Errors: unavailable while no controller listens. */
  readonly tell: (measurements: readonly Measurement[]) => Promise<void>;
}

const OPEN_AGAIN_MS = 30_000;

/** Those to whom an instance draws packets are asked often. */
export function targetsOf({ peers, services, clients }: DesiredNetwork, node: string): Target[] {
  const led = new Set(services.flatMap(({ endpoints }) => endpoints.map((endpoint) => endpoint.node)));
  const nodes = peers.map(
    (peer): Target => ({ kind: 'node', name: peer.node, address: peer.address, eager: led.has(peer.node) }),
  );
  const others = (clients ?? []).map((client): Target => ({ kind: 'client', ...client, eager: false }));
  return [...nodes.sort((a, b) => Number(b.eager) - Number(a.eager)), ...others].filter(
    ({ kind, name }) => kind !== 'node' || name !== node,
  );
}

export class Measuring {
  readonly #options: MeasuringOptions;
  #targets: readonly Target[] = [];
  #trips: RoundTrips | undefined;
  #echoes: EchoPort | undefined;
  #opening = false;
  #cancelOpen: (() => void) | undefined;
  #isClosed = false;

  constructor(options: MeasuringOptions) {
    this.#options = options;
  }

  wish(network: DesiredNetwork | undefined): void {
    this.#targets = network ? targetsOf(network, this.#options.node) : [];
    if (this.#trips) this.#trips.setTargets(this.#targets);
    else void this.#open();
  }

  reachable(node: string): boolean {
    return this.#trips?.reachable(node) ?? true;
  }

  oneWayUs(node: string): number | undefined {
    return this.#trips?.oneWayUs(node);
  }

  /** A controller listens that knows nothing. */
  begun(): void {
    this.#trips?.tellAll();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelOpen?.();
    this.#trips?.close();
    this.#echoes?.close();
  }

  async #open(): Promise<void> {
    if (this.#opening || this.#isClosed || this.#targets.length === 0) return;
    this.#opening = true;
    const { open, clock, random, logger, onChange, tell, tcp } = this.#options;
    try {
      const echoes = await open();
      if (this.#isClosed) return echoes.close();
      this.#echoes = echoes;
      const known = tcp && new TcpFigures(tcp, clock);
      this.#trips = new RoundTrips({
        ...(known && { tcp: (address: string) => known.of(address) }),
        ...{ echo: echoes, clock, random, onReachable: onChange },
        tell: async (measurements) => {
          onChange();
          await tell(measurements);
        },
      });
      this.#trips.setTargets(this.#targets);
      void echoes.closed.then(() => this.#lost());
    } catch (error) {
      logger.warn({ err: asSkerryError(error) }, 'round trips can not be measured; trying again');
      this.#openLater();
    } finally {
      this.#opening = false;
    }
  }

  #openLater(): void {
    this.#cancelOpen = this.#options.clock.after(OPEN_AGAIN_MS, () => void this.#open());
  }

  /** Who measures has ended: that nobody answers then says nothing of the others. */
  #lost(): void {
    if (this.#isClosed) return;
    this.#options.logger.warn({}, 'the program that measures round trips ended; it is started again');
    this.#trips?.close();
    this.#trips = undefined;
    this.#echoes = undefined;
    this.#options.onChange();
    this.#openLater();
  }
}
