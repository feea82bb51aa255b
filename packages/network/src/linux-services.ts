/**
 * Services on Linux: the table, a route per virtual address, and the end of connections whose backend is gone.
 *
 * A virtual address is routed to loopback, though it is none of the node's own: so the node itself has a way to it at all
 * (with the gateway's address, which every guest of every node can answer), and what no rule leads elsewhere is refused.
 * Not to the bridge: the kernel would tell guests of a shorter way, and what it tells is counted (ip-sysctl: icmp_ratelimit).
 */
import { endLed, type Identity, ipJson, type LedConnection, listLed } from '@skerry/host';
import { asSkerryError } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import { otherBridges } from './forwarding.ts';
import type { NetworkLogger } from './linux.ts';
import type { HostLines } from './linux-host.ts';
import { ROUTE_PROTO } from './peers.ts';
import type { NetworkService } from './port.ts';
import { checkServices, servicesScript } from './services.ts';

export interface Services {
  set(services: readonly NetworkService[], signal: AbortSignal): Promise<void>;
  /** What was set last, as a script; empty where nothing was. */
  script(): string;
}

export interface ServicesOptions {
  readonly identity: Identity;
  readonly subnet: Subnet;
  readonly lines: HostLines;
  readonly logger: NetworkLogger;
}

const pairsOf = (services: readonly NetworkService[]): Map<string, LedConnection> =>
  new Map(
    services.flatMap(({ address, backends }) =>
      backends.map((backend) => [`${address} ${backend.address}`, { to: address, ledTo: backend.address }]),
    ),
  );

export function createServices({ identity, subnet, lines, logger }: ServicesOptions): Services {
  let script: string | undefined;
  let pairs: Map<string, LedConnection> | undefined;

  /** Data folders on one machine may have the same address: each has a route of its own. */
  const way = `dev lo src ${subnet.gateway} metric ${(Number.parseInt(identity.id, 16) >>> 1) + 1} proto ${ROUTE_PROTO}`;

  const route = async (services: readonly NetworkService[], signal: AbortSignal) => {
    const args = ['-4', 'route', 'show', 'dev', 'lo', 'proto', String(ROUTE_PROTO), 'src', subnet.gateway];
    const found = new Set((await ipJson<{ dst: string }>(args, signal)).map(({ dst }) => dst));
    const wanted = new Set(services.map(({ address }) => address));
    const added = [...wanted].filter((address) => !found.has(address));
    const gone = [...found].filter((address) => !wanted.has(address));
    await lines.ip(
      [
        ...added.map((address) => `route replace ${address}/32 ${way}`),
        ...gone.map((address) => `route del ${address}/32 ${way}`),
      ],
      (text) => text.includes('No such process'), // ESRCH: it is gone already
    );
  };

  /** After a start it is not known what was before: the kernel tells. */
  const lost = async (
    next: ReadonlyMap<string, LedConnection>,
    ours: ReadonlySet<string>,
    signal: AbortSignal,
  ) => {
    if (pairs) return [...pairs].flatMap(([key, pair]) => (next.has(key) ? [] : [pair]));
    const all = await listLed(signal);
    return all.filter((pair) => ours.has(pair.to) && !next.has(`${pair.to} ${pair.ledTo}`));
  };

  return {
    script: () => script ?? '',
    async set(services, signal) {
      checkServices(services);
      const next = pairsOf(services);
      const text = servicesScript(identity, services, otherBridges(identity));
      if (text !== script) {
        await route(services, signal);
        script = undefined; // until it is known to be in place
        await lines.nft(text);
        script = text;
      }
      try {
        const ours = new Set(services.map(({ address }) => address));
        for (const pair of await lost(next, ours, signal)) await endLed(pair, signal);
      } catch (error) {
        // New connections go the right way; those that hang end by their own time limits.
        logger.warn(
          { err: asSkerryError(error) },
          'connections to instances that are gone could not be ended',
        );
      }
      pairs = next;
    },
  };
}
