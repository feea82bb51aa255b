/**
 * The overlay on Linux: makes the device when there is a first peer, brings routes and entries to what is wanted, and
 * remembers it in the run folder, so that a program that starts anew has the rules at once. Never touches a route that it
 * has not made.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bridgeJson, type Identity, ipJson, linkState, writeSysctl } from '@skerry/host';
import { parseSubnet, type Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
import { turnOffIpv6, useIpv6 } from './forwarding.ts';
import type { HostLines } from './linux-host.ts';
import { NO_PEERS, type PeerRules, peersScript } from './linux-rules.ts';
import {
  checkPeers,
  type OverlayState,
  overlayChange,
  overlayDevice,
  overlayLines,
  ROUTE_PROTO,
} from './peers.ts';
import type { OverlayPeer } from './port.ts';

export interface Overlay {
  /** What the rules say at present. */
  rules(): PeerRules;
  /** Reads what an earlier program of this data folder set since the machine booted. */
  load(): void;
  set(peers: readonly OverlayPeer[], signal: AbortSignal): Promise<void>;
  forget(): void;
}

export interface OverlayOptions {
  readonly identity: Identity;
  readonly subnet: Subnet;
  readonly subnet6: () => Subnet6 | undefined;
  readonly lines: HostLines;
  readonly mtu: () => number;
  /** Makes all rules anew, for a table that was taken away under us. */
  readonly renew: (rules: PeerRules) => Promise<void>;
}

interface AddressRow {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly local?: string }[];
}

export function createOverlay(options: OverlayOptions): Overlay {
  const { identity, subnet, subnet6, lines, mtu, renew } = options;
  const device = overlayDevice(identity);
  const file = join(identity.runDir, 'peers.json');
  let rules = NO_PEERS;

  const remember = () => {
    writeFileSync(`${file}.new`, JSON.stringify(rules), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };

  /** Interfaces of this machine by their address: a peer whose gateway is among them is here. */
  const localDevices = async (signal: AbortSignal) => {
    const rows = await ipJson<AddressRow>(['-4', 'addr'], signal);
    return new Map(
      rows.flatMap(({ ifname, addr_info }) => (addr_info ?? []).map(({ local }) => [local, ifname] as const)),
    );
  };

  const look = async (signal: AbortSignal): Promise<OverlayState> => {
    const only = ['dev', device];
    const ofBoth = async <Row>(args: readonly string[]) =>
      (
        await Promise.all(['-4', '-6'].map((family) => ipJson<Row>([family, ...args, ...only], signal)))
      ).flat();
    const [routes, neighbours, entries] = await Promise.all([
      ofBoth<{ dst: string }>(['route', 'show', 'proto', String(ROUTE_PROTO)]),
      ofBoth<{ dst: string; state: string[] }>(['neigh', 'show']),
      bridgeJson<{ mac: string; dst?: string; vni?: number }>(['fdb', 'show', ...only], signal),
    ]);
    return {
      routes: routes.map(({ dst }) => dst),
      neighbours: neighbours.filter(({ state }) => state.includes('PERMANENT')).map(({ dst }) => dst),
      entries: entries.flatMap(({ mac, dst, vni = 0 }) => (dst === undefined ? [] : [{ mac, dst, vni }])),
    };
  };

  return {
    rules: () => rules,
    load() {
      try {
        rules = JSON.parse(readFileSync(file, 'utf8')) as PeerRules;
      } catch {
        rules = NO_PEERS;
      }
    },
    async set(peers, signal) {
      checkPeers(peers, subnet, subnet6());
      const here = peers.length === 0 ? new Map() : await localDevices(signal);
      const deviceOf = (peer: OverlayPeer): string | undefined => here.get(parseSubnet(peer.subnet).gateway);
      const elsewhere = peers.filter((peer) => deviceOf(peer) === undefined);
      const next: PeerRules = {
        ways: peers.map((peer) => ({
          ...{ device: deviceOf(peer) ?? device, subnet: peer.subnet },
          ...(peer.subnet6 !== undefined && { subnet6: peer.subnet6 }),
        })),
        underlays: elsewhere.map((peer) => peer.address),
      };
      const there = linkState(device) !== undefined;
      if (there || elsewhere.length > 0) {
        await lines.ip(overlayLines(identity, subnet, mtu(), there));
        // What a client sent comes from a peer, though it is not behind it; the loose filter wants an address here, too. Who may
        // come in by it the rules say.
        writeSysctl(`net/ipv4/conf/${device}/rp_filter`, '0');
        if (subnet6()) useIpv6(device);
        else turnOffIpv6(device);
      }
      // Rules first: a packet that comes early is let in, one that comes late is not.
      await lines.nft(peersScript(identity, next)).catch(() => renew(next));
      rules = next;
      remember();
      if (!there && elsewhere.length === 0) return;
      const change = overlayChange(identity, subnet, elsewhere, await look(signal), subnet6());
      const gone = (text: string) => /No such|Cannot find/.test(text);
      await lines.fdb(change.fdb);
      await lines.ip(change.ip);
      await lines.ip(change.removeIp, gone);
      await lines.fdb(change.removeFdb, gone);
    },
    forget() {
      rules = NO_PEERS;
      rmSync(file, { force: true });
    },
  };
}
