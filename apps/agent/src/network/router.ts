/**
 * Keeps the node's network as the desired state and the node's own knowledge ask: whenever something changes it reckons
 * anew and hands over what differs. It never waits for a controller; what fails is tried again.
 */
import type { DesiredNetwork } from '@skerry/contract';
import { asSkerryError } from '@skerry/model';
import type { ClientPaths, NodeNetwork } from '@skerry/network';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { type Knowledge, servicesOf } from './backends.ts';

export interface NetworkRouterOptions {
  readonly network: NodeNetwork;
  /** Whether the network is started. */
  readonly up: () => boolean;
  readonly desired: () => DesiredNetwork | undefined;
  readonly knowledge: () => Knowledge;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ending: AbortSignal;
  /** There is trouble, or none any more. */
  readonly onTrouble: () => void;
}

const RETRY_MS = 2000;
const NOTHING: DesiredNetwork = { peers: [], services: [] };

/** Of the peers, those that a client comes from most likely: by the model, so that what is measured changes nothing. */
const MOST_NEIGHBOURS = 8;
function neighboursOf({ peers, services }: DesiredNetwork): string[] {
  const latencyUs = new Map<string, number>();
  for (const { node, latencyUs: us } of services.flatMap(({ endpoints }) => endpoints))
    latencyUs.set(node, us);
  const far = (node: string) => latencyUs.get(node) ?? Number.POSITIVE_INFINITY;
  return peers
    .map(({ node }) => node)
    .sort((a, b) => (far(a) === far(b) ? (a < b ? -1 : 1) : far(a) - far(b)))
    .slice(0, MOST_NEIGHBOURS)
    .sort();
}

/** A node that does not answer takes nothing: what would be sent there is refused, so that the client learns of it. */
const pathsOf = (wanted: DesiredNetwork, reachable: Knowledge['reachable']): ClientPaths => ({
  here: (wanted.clients ?? []).flatMap(({ address, address6 }) => [address, address6 ?? []].flat()),
  moved: (wanted.moved ?? []).map(({ address, next }) => ({
    address,
    ...(next !== undefined && reachable(next) && { next }),
  })),
  othersMayCome: wanted.expectsClients === true,
  ...(wanted.expectsClients && { neighbours: neighboursOf(wanted) }),
});

export class NetworkRouter {
  readonly #options: NetworkRouterOptions;
  #due = false;
  #working: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;
  /** What the network was told last, as JSON; undefined: unknown. */
  #peers: string | undefined;
  #services: string | undefined;
  #clients: string | undefined;
  /** Why packets do not go where they should; undefined: they do. */
  trouble: string | undefined;

  constructor(options: NetworkRouterOptions) {
    this.#options = options;
  }

  /** Something that counts may have changed. What changes in one turn is one change. */
  changed(): void {
    this.#due = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    if (this.#working || this.#options.ending.aborted) return;
    this.#working = Promise.resolve()
      .then(() => this.#work())
      .finally(() => {
        this.#working = undefined;
        if (this.#due && this.#cancelRetry === undefined) this.changed();
      });
  }

  /** The network has been started anew: what it was told before counts for nothing. */
  restarted(): void {
    this.#peers = undefined;
    this.#services = undefined;
    this.#clients = undefined;
    this.changed();
  }

  /** Resolves when it is at rest, or waits to try again. */
  async idle(): Promise<void> {
    while (this.#working) await this.#working;
  }

  close(): void {
    this.#due = false;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
  }

  async #work(): Promise<void> {
    const { up, ending, logger, clock } = this.#options;
    while (this.#due && up() && !ending.aborted) {
      this.#due = false;
      try {
        await this.#apply();
        this.#tell(undefined);
      } catch (thrown) {
        if (ending.aborted) return;
        const error = asSkerryError(thrown);
        this.#tell(error.message);
        logger.warn({ err: error }, 'packets can not be led as they should; trying again');
        this.#cancelRetry = clock.after(RETRY_MS, () => this.changed());
        return;
      }
    }
    if (!up()) this.#due = false; // `restarted` follows
  }

  #tell(trouble: string | undefined): void {
    const isNews = trouble !== this.trouble;
    this.trouble = trouble;
    if (isNews) this.#options.onTrouble();
  }

  async #apply(): Promise<void> {
    const { network, desired, knowledge, ending } = this.#options;
    const wanted = desired() ?? NOTHING;
    const { peers, services: routes } = wanted;
    const services = servicesOf(routes, knowledge());
    const [peersText, servicesText] = [JSON.stringify(peers), JSON.stringify(services)];
    if (peersText !== this.#peers) {
      this.#peers = undefined;
      await network.setPeers(peers, ending);
      this.#peers = peersText;
    }
    const paths = pathsOf(wanted, knowledge().reachable);
    const clientsText = JSON.stringify(paths);
    if (clientsText !== this.#clients) {
      this.#clients = undefined;
      await network.setClients(paths, ending);
      this.#clients = clientsText;
    }
    if (servicesText !== this.#services) {
      this.#services = undefined;
      await network.setServices(services, ending);
      this.#services = servicesText;
    }
  }
}
