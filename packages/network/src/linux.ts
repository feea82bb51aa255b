/**
 * The node network on Linux: a bridge, nftables, tc and dnsmasq, all named after the data folder's identity. What it makes
 * stays when the program ends, for guests use it; `start` finds it again, `destroy` removes it.
 * It never touches an interface, a namespace or a table that does not carry its own prefix.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Identity, ipJson, ipv6Works, linkState, listLinks, listNetns, netnsExists } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { parseSubnet } from './addressing.ts';
import { type Subnet6, subnet6Of } from './addressing6.ts';
import { findBridges } from './bridges.ts';
import {
  bridgedRules,
  enableForwarding,
  enableForwarding6,
  restoreForwarding,
  turnOffIpv6,
  useIpv6,
} from './forwarding.ts';
import { createGuests } from './linux-guests.ts';
import { createHostLines } from './linux-host.ts';
import { bridgeLines, bridgeLines6, neighbourLine, netnsName, portLines, shaperOf } from './linux-links.ts';
import { createOverlay, type Overlay } from './linux-overlay.ts';
import { probeNetwork } from './linux-probe.ts';
import { cardDevice, deviceOf, type PeerRules, removeTablesScript, tableScript } from './linux-rules.ts';
import { createServices } from './linux-services.ts';
import { createStrays } from './linux-strays.ts';
import { createNameServer } from './name-server.ts';
import { OVERLAY_BYTES, overlayDevice } from './peers.ts';
import type { AttachRequest, NodeNetwork } from './port.ts';
import { claimPorts, forgetClaims, sweepClaims } from './port-claims.ts';
import { withoutIpv6 } from './request.ts';
import { offered, removeServicesScript } from './services.ts';
import { removeStraysScript } from './strays.ts';

/** Takes what pino takes: fields, then a sentence. */
export interface NetworkLogger {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface LinuxNetworkOptions {
  readonly identity: Identity;
  /** As `chooseSubnet` gave it; the caller keeps it in the data folder. */
  readonly subnet: string;
  readonly logger: NetworkLogger;
  /** IPv4 address at which other nodes reach this one. Default: the one that the default route leaves by. */
  readonly underlay?: string;
  /** Addresses of the node at which clients ask for names. Default: none, only guests are answered. */
  readonly accessAddresses?: readonly string[];
  /** Names of networks, with the bridge of each, which others made and keep. */
  readonly bridges?: Readonly<Record<string, string>>;
  /** How often it is looked whether the name server lives. Default 2000. */
  readonly watchMs?: number;
}

/** Of guests: what they send fits the overlay, too. */
const MAX_MTU = 1500 - OVERLAY_BYTES;
/** Of a link that carries IPv6 (RFC 8200, 5). */
const MIN_MTU6 = 1280;
const NAMES_RETRY_MS = 5000;

/** What fits the interface of the default route inside a frame of the overlay. */
async function uplinkMtu(signal: AbortSignal): Promise<number> {
  const routes = await ipJson<{ dev?: string }>(['-4', 'route', 'show', 'default'], signal);
  const mtus = routes.flatMap(({ dev }) => (dev === undefined ? [] : (linkState(dev)?.mtu ?? [])));
  return Math.min(MAX_MTU, ...mtus.filter((mtu) => mtu >= 576).map((mtu) => mtu - OVERLAY_BYTES));
}

/** The address that packets to the outside come from, by asking for the way to an address for documentation (RFC 5737). */
async function outwardAddress(signal: AbortSignal): Promise<string | undefined> {
  try {
    const [way] = await ipJson<{ prefsrc?: string }>(['-4', 'route', 'get', '192.0.2.1'], signal);
    return way?.prefsrc;
  } catch {
    return undefined; // no way out
  }
}

/** Without a default route: the first address for more than the link, on an interface that is no bridge of ours. */
async function anyAddress(signal: AbortSignal): Promise<string | undefined> {
  const rows = await ipJson<{
    ifname: string;
    addr_info?: { local?: string; scope?: string }[];
  }>(['-4', 'addr', 'show', 'up'], signal);
  return rows
    .filter(({ ifname }) => !/^(lo|sk[0-9a-f]{8}br|docker\d+)$/.test(ifname))
    .flatMap(({ addr_info }) => addr_info ?? [])
    .find(({ scope }) => scope === 'global')?.local;
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // others keep something in it
  }
}

export function createLinuxNetwork(options: LinuxNetworkOptions): NodeNetwork {
  const { identity, logger } = options;
  const subnet = parseSubnet(options.subnet);
  const lines = createHostLines(identity);
  let mtu = MAX_MTU;
  const ownSubnet6 = (): Subnet6 | undefined =>
    mtu >= MIN_MTU6 && ipv6Works() ? subnet6Of(identity, subnet) : undefined;
  /** As it was when the network was started: what is there is all of one kind. */
  let network6 = ownSubnet6();
  const subnet6 = () => network6;
  const names = createNameServer({
    ...{ identity, subnet, mtu: () => mtu },
    accessAddresses: options.accessAddresses ?? [],
  });
  const overlay: Overlay = createOverlay({
    ...{ identity, subnet, subnet6, lines, mtu: () => mtu },
    renew: (rules) => renew(guests.all(), rules),
  });
  const guests = createGuests({
    ...{ identity, subnet, subnet6, lines, names, mtu: () => mtu, bridges: options.bridges ?? {} },
    renew: (staying) => renew(staying, overlay.rules()),
  });
  const services = createServices({ identity, subnet, subnet6, lines, logger });
  const strays = createStrays({
    ...{ identity, lines, logger },
    renew: () => renew(guests.all(), overlay.rules()),
  });
  const renew = (staying: readonly AttachRequest[], rules: PeerRules) =>
    lines.nft(tableScript(identity, subnet, network6, staying, rules) + services.script() + strays.script());
  let watch: NodeJS.Timeout | undefined;
  let mending: Promise<void> | undefined;
  let retryNamesAtMs = 0;
  let started = false;

  const sweep = async (keep: readonly AttachRequest[]) => {
    const devices = new Map<string, string>(); // name -> uid
    for (const guest of keep) {
      devices.set(deviceOf(identity, guest), guest.uid);
      for (const index of (guest.cards ?? []).keys())
        devices.set(cardDevice(identity, guest.slot, index), guest.uid);
      if (guest.bandwidth?.outBps !== undefined) devices.set(shaperOf(identity, guest.slot), guest.uid);
    }
    const namespaces = new Set(keep.map((guest) => netnsName(identity, guest.uid)));
    const lostLinks = listLinks(identity.interfacePrefix)
      .filter(
        (link) =>
          link.name !== identity.bridge &&
          link.name !== overlayDevice(identity) &&
          devices.get(link.name) !== link.alias,
      )
      .map((link) => link.name);
    const lostNamespaces = listNetns(identity.netnsPrefix).filter((name) => !namespaces.has(name));
    if (lostLinks.length + lostNamespaces.length === 0) return;
    logger.info({ interfaces: lostLinks, namespaces: lostNamespaces }, 'removing what no guest owns');
    await lines.remove({ netns: lostNamespaces, devices: lostLinks });
  };

  /** Ports of guests that are kept are theirs already; one that was lost meanwhile is told of and left out of the rules. */
  const reclaim = (keep: readonly AttachRequest[]): AttachRequest[] => {
    sweepClaims(identity, keep);
    return keep.map((guest) => {
      try {
        claimPorts(identity, guest, (uid) => `the guest ${uid}`);
        return guest;
      } catch (error) {
        logger.warn({ err: error, uid: guest.uid }, 'a published port was lost while the program was away');
        return { ...guest, ports: guest.ports.map(({ publish: _, ...port }) => port) };
      }
    });
  };

  /** Once the rules are in place. */
  const startIpv6 = async (owned: readonly AttachRequest[]) => {
    if (!network6) return turnOffIpv6(identity.bridge);
    useIpv6(identity.bridge);
    enableForwarding6(identity);
    await lines.ip([
      ...bridgeLines6(identity, network6),
      ...owned.flatMap((guest) => neighbourLine(identity, guest)),
    ]);
  };

  /** Guests run without names, too: a name server that does not start is told of and tried again, it stops nothing. */
  const startNames = async (renew: boolean) => {
    try {
      await names.ensure(guests.all(), renew);
      retryNamesAtMs = 0;
    } catch (error) {
      retryNamesAtMs = performance.now() + NAMES_RETRY_MS;
      logger.warn({ err: error }, 'the name server does not start');
    }
  };
  const mendNames = () => {
    if (mending || performance.now() < retryNamesAtMs || names.running()) return;
    logger.warn({}, 'the name server has ended; starting it again');
    mending = startNames(false).finally(() => {
      mending = undefined;
    });
  };
  const stopWatching = async () => {
    clearInterval(watch);
    watch = undefined;
    await mending;
  };

  let last: Promise<unknown> = Promise.resolve();
  /** Peers and services are whole each time: one after the other, the last one stays. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work, work);
    last = turn.catch(() => undefined);
    return turn;
  };

  const self: NodeNetwork = {
    subnet: subnet.cidr,
    get subnet6() {
      return network6?.cidr;
    },
    networks: Object.keys(options.bridges ?? {}),
    async start(keep, signal) {
      if (process.getuid?.() !== 0) {
        throw new SkerryError('host_missing', 'the node network needs root: start skerry with sudo');
      }
      await stopWatching();
      mkdirSync(identity.runDir, { recursive: true, mode: 0o711 });
      mtu = await uplinkMtu(signal);
      const bridge = linkState(identity.bridge);
      await lines.ip(bridgeLines(identity, subnet, mtu, bridge !== undefined));
      network6 = ownSubnet6();
      enableForwarding(identity);
      const owned = reclaim(network6 ? keep : keep.map(withoutIpv6));
      await sweep(owned);
      overlay.load();
      await lines.nft(tableScript(identity, subnet, network6, owned, overlay.rules()));
      await startIpv6(owned);
      const loose = owned.flatMap((guest) => {
        const link = linkState(deviceOf(identity, guest));
        const fits = link === undefined || link.bridge === identity.bridge;
        return fits ? [] : portLines(identity, link.name, guest.uid, mtu, bridgedRules());
      });
      await lines.ip(loose);
      guests.adopt(owned);
      signal.throwIfAborted();
      started = true;
      await startNames(bridge === undefined);
      watch = setInterval(mendNames, options.watchMs ?? 2000).unref();
    },
    async attach(request, signal) {
      signal.throwIfAborted();
      if (!started) throw new SkerryError('unavailable', 'the node network is not started');
      return guests.attach(request);
    },
    async begin(request, signal) {
      signal.throwIfAborted();
      if (!started) throw new SkerryError('unavailable', 'the node network is not started');
      return guests.begin(request);
    },
    async detach(uid, signal) {
      signal.throwIfAborted();
      await guests.detach(uid);
    },
    async setPeers(peers, signal) {
      signal.throwIfAborted();
      if (!started) throw new SkerryError('unavailable', 'the node network is not started');
      await inTurn(async () => {
        await overlay.set(peers, signal);
        await strays.setPeers(peers);
      });
    },
    async setServices(wanted, signal) {
      signal.throwIfAborted();
      if (!started) throw new SkerryError('unavailable', 'the node network is not started');
      await inTurn(async () => {
        const led = wanted.map((service) => offered(service, network6 !== undefined));
        await services.set(led, signal);
        await strays.setServices(led);
        names.tellServices(led);
      });
    },
    async setClients(paths, signal) {
      signal.throwIfAborted();
      if (!started) throw new SkerryError('unavailable', 'the node network is not started');
      await inTurn(() => strays.setClients(paths));
    },
    underlay: async (signal) =>
      options.underlay ?? (await outwardAddress(signal)) ?? (await anyAddress(signal)),
    counters: async (uid) => guests.counters(uid),
    probe: async (signal) => [
      ...(await probeNetwork(identity, subnet, network6, names, signal)),
      ...findBridges(options.bridges ?? {}),
    ],
    async stop() {
      await stopWatching();
      await names.stop();
    },
    async destroy(signal) {
      signal.throwIfAborted();
      await stopWatching();
      await names.destroy();
      guests.adopt([]);
      started = false;
      await lines.nft(
        removeTablesScript(identity) + removeServicesScript(identity) + removeStraysScript(identity),
      );
      overlay.forget();
      const links = listLinks(identity.interfacePrefix).map((link) => link.name);
      const namespaces = listNetns(identity.netnsPrefix).filter(netnsExists);
      await lines.remove({ netns: namespaces, devices: links });
      forgetClaims(identity);
      restoreForwarding(identity);
      removeIfEmpty(identity.runDir);
      removeIfEmpty(dirname(identity.runDir));
    },
  };
  return self;
}
