/** Connections of clients that came from elsewhere, on Linux: the tables follow what is known of clients and of services. */

import { isIP } from 'node:net';
import { type Identity, linkState } from '@skerry/host';
import { asSkerryError, SkerryError } from '@skerry/model';
import { parseSubnet } from './addressing.ts';
import { parseSubnet6 } from './addressing6.ts';
import type { NetworkLogger } from './linux.ts';
import type { HostLines } from './linux-host.ts';
import { overlayDevice } from './peers.ts';
import type { ClientPaths, NetworkService, OverlayPeer } from './port.ts';
import { NO_STRAYS, removeStraysScript, type StrayPaths, strayGuests, straysScript } from './strays.ts';

const MOST_CLIENTS = 100_000;

export interface Strays {
  setClients(paths: ClientPaths): Promise<void>;
  setServices(services: readonly NetworkService[]): Promise<void>;
  setPeers(peers: readonly OverlayPeer[]): Promise<void>;
  /** Of the sets in the table of the network, for one that is made anew. */
  script(): string;
}

export interface StraysOptions {
  readonly identity: Identity;
  readonly lines: HostLines;
  readonly logger: NetworkLogger;
  /** Makes all rules of the network anew, for a table that was taken away under us. */
  readonly renew: () => Promise<void>;
}

const NOBODY: ClientPaths = { here: [], moved: [], othersMayCome: false };

/** Errors: request_invalid, naming the address. */
function check({ here, moved }: ClientPaths): void {
  if (here.length + moved.length > MOST_CLIENTS)
    throw new SkerryError('request_invalid', `more than ${MOST_CLIENTS} clients at one node`);
  for (const address of [...here, ...moved.map((one) => one.address)])
    if (isIP(address) === 0)
      throw new SkerryError('request_invalid', `"${address}" is no address of a client`);
}

export function createStrays({ identity, lines, logger, renew }: StraysOptions): Strays {
  let clients = NOBODY;
  let virtual: readonly string[] = [];
  let peers: readonly OverlayPeer[] = [];
  let guests = strayGuests(identity, NO_STRAYS);
  let applied: string | undefined;
  /** The kernel has no `dup`: what can not be sent on is refused, as it was before. */
  let isUnable = false;

  const gatewayOf = (node: string, address: string): string | undefined => {
    const peer = peers.find((one) => one.node === node);
    if (!peer) return undefined;
    if (!address.includes(':')) return parseSubnet(peer.subnet).gateway;
    return peer.subnet6 === undefined ? undefined : parseSubnet6(peer.subnet6).gateway;
  };

  const paths = (): StrayPaths => ({
    ...{ here: clients.here, othersMayCome: clients.othersMayCome, virtual },
    neighbours: (clients.neighbours ?? []).flatMap((node) =>
      ['0.0.0.0', '::'].flatMap((family) => gatewayOf(node, family) ?? []),
    ),
    moved: clients.moved.map(({ address, next }) => {
      const gateway = next === undefined ? undefined : gatewayOf(next, address);
      return { address, ...(gateway !== undefined && { gateway }) };
    }),
  });

  const update = async () => {
    if (isUnable) return;
    const now = paths();
    const text = straysScript(identity, now, linkState(overlayDevice(identity)) !== undefined);
    const sets = strayGuests(identity, now);
    if (text + sets === applied) return;
    guests = sets;
    applied = undefined;
    await lines.nft(sets).catch(renew);
    try {
      await lines.nft(text);
      applied = text + sets;
    } catch (error) {
      await lines.nft(removeStraysScript(identity));
      isUnable = true;
      logger.warn(
        { err: asSkerryError(error) },
        'connections of clients that come from another node can not be sent on: they break when the client moves',
      );
    }
  };

  return {
    async setClients(wanted) {
      check(wanted);
      clients = wanted;
      await update();
    },
    async setServices(services) {
      virtual = services.flatMap(({ address, address6 }) => [address, address6 ?? []].flat());
      await update();
    },
    async setPeers(wanted) {
      peers = wanted;
      await update();
    },
    script: () => guests,
  };
}
