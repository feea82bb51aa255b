/**
 * Services on Linux: the table, a route per virtual address, and the end of connections whose backend is gone.
 *
 * A virtual address is routed to loopback, though it is none of the node's own: so the node itself has a way to it at all
 * (with the gateway's address, which every guest of every node can answer), and what no rule leads elsewhere is refused.
 * Not to the bridge: the kernel would tell guests of a shorter way, and what it tells is counted (ip-sysctl: icmp_ratelimit).
 * IPv6 has no such routes to loopback, and without an address of the link the kernel tells nobody of shorter ways: there it
 * is the bridge.
 */
import { endLed, type Identity, ipJson, type LedConnection, listLed } from '@skerry/host';
import { asSkerryError } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
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
  readonly subnet6: () => Subnet6 | undefined;
  readonly lines: HostLines;
  readonly logger: NetworkLogger;
}

const pairOf = (to: string, ledTo: string): [string, LedConnection] => [`${to} ${ledTo}`, { to, ledTo }];
/** All virtual addresses. */
const virtualOf = (services: readonly NetworkService[]): string[] =>
  services.flatMap(({ address, address6 }) => (address6 === undefined ? [address] : [address, address6]));

const pairsOf = (services: readonly NetworkService[]): Map<string, LedConnection> =>
  new Map(
    services.flatMap(({ address, address6, backends }) =>
      backends.flatMap((backend) => [
        pairOf(address, backend.address),
        ...(address6 !== undefined && backend.address6 !== undefined
          ? [pairOf(address6, backend.address6)]
          : []),
      ]),
    ),
  );

export function createServices({ identity, subnet, subnet6, lines, logger }: ServicesOptions): Services {
  let script: string | undefined;
  let pairs: Map<string, LedConnection> | undefined;

  /** Data folders on one machine may have the same address: each has a route of its own. */
  const metric = (Number.parseInt(identity.id, 16) >>> 1) + 1;
  const ours = ['proto', String(ROUTE_PROTO)];
  const wayOf = (device: string, from: string) =>
    `dev ${device} src ${from} metric ${metric} ${ours.join(' ')}`;

  /** Of one family; what is found there and not wanted goes. */
  const change = (rows: readonly { dst: string }[], bits: number, way: string, all: readonly string[]) => {
    const [found, wanted] = [new Set(rows.map(({ dst }) => dst)), new Set(all)];
    return [
      ...[...wanted].filter((one) => !found.has(one)).map((one) => `route replace ${one}/${bits} ${way}`),
      ...[...found].filter((one) => !wanted.has(one)).map((one) => `route del ${one}/${bits} ${way}`),
    ];
  };

  const route = async (services: readonly NetworkService[], signal: AbortSignal) => {
    const show = (...args: string[]) =>
      ipJson<{ dst: string }>([args[0]!, 'route', 'show', 'dev', ...args.slice(1), ...ours], signal);
    const [own6, addresses] = [subnet6(), services.map(({ address }) => address)];
    const changes = change(
      await show('-4', 'lo', 'src', subnet.gateway),
      ...([32, wayOf('lo', subnet.gateway), addresses] as const),
    );
    if (own6) {
      const addresses6 = services.flatMap(({ address6 }) => address6 ?? []);
      const way = wayOf(identity.bridge, own6.gateway);
      changes.push(...change(await show('-6', identity.bridge), 128, way, addresses6));
    }
    await lines.ip(changes, (text) => text.includes('No such process')); // ESRCH: it is gone already
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
        const ours = new Set(virtualOf(services));
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
