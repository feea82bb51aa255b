/**
 * The overlay's numbers and lines: one VXLAN device (RFC 7348) per node, unicast only, every entry static. Pure.
 *
 * A node's frames carry the VNI of the node that they go to, and that derives from its subnet, as its MAC does: both
 * sides know it without telling, and several data folders on one machine never meet, for their subnets don't.
 *
 *   guest -> bridge -> route to the peer's subnet -> VXLAN device -> MAC of the peer -> its underlay address, its VNI
 */
import type { Identity } from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { parseSubnet, type Subnet, toNumber } from './addressing.ts';
import { parseSubnet6, type Subnet6 } from './addressing6.ts';
import type { OverlayPeer } from './port.ts';
import { rangeOf } from './subnet.ts';

/** Outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348, 4.3 and 5). */
export const OVERLAY_BYTES = 50;
export const VXLAN_PORT = 4789; // IANA
/** What we made in the kernel's routing tables, for ip-route(8)'s `proto`: neither the kernel's nor any daemon's number. */
export const ROUTE_PROTO = 173;
const MOST_PEERS = 10_000;

export const overlayDevice = (identity: Identity): string => `${identity.interfacePrefix}ov`;

/** 24 bits: the part of the network address that differs between subnets of 256 addresses and more. */
export const vniOf = (subnet: Subnet): number => Math.floor(toNumber(subnet.network) / 256);

/** Locally administered, from the gateway's address; no guest's MAC begins so (`02:76`). */
export const overlayMac = (subnet: Subnet): string =>
  ['02', '76', ...subnet.gateway.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(
    ':',
  );

/** Errors: request_invalid, naming the peer and what is wrong. */
export function checkPeers(peers: readonly OverlayPeer[], own: Subnet, own6?: Subnet6): void {
  const wrong = (peer: OverlayPeer, text: string) =>
    new SkerryError('request_invalid', `the peer "${peer.node}" ${text}`, { details: { node: peer.node } });
  if (peers.length > MOST_PEERS) {
    throw new SkerryError(
      'request_invalid',
      `${peers.length} peers are more than the ${MOST_PEERS} of a node`,
    );
  }
  for (const peer of peers) {
    toNumber(peer.address);
    const { prefixLength } = parseSubnet(peer.subnet);
    if (prefixLength > 24) throw wrong(peer, `has the subnet ${peer.subnet}: smaller than a /24`);
  }
  const seen = new Map([[own6?.cidr, 'this node']]);
  for (const peer of peers) {
    if (peer.subnet6 === undefined) continue;
    const { cidr } = parseSubnet6(peer.subnet6);
    const other = seen.get(cidr);
    if (other !== undefined) throw wrong(peer, `has the subnet ${cidr}, which is that of ${other}`);
    seen.set(cidr, peer.node);
  }
  const ranges = [{ node: 'this node', subnet: own.cidr }, ...peers]
    .map((peer) => ({ peer, ...rangeOf(peer.subnet, peer.node) }))
    .sort((a, b) => a.first - b.first);
  for (const [index, { peer, first, what }] of ranges.entries()) {
    const before = ranges[index - 1];
    if (!before || before.last < first) continue;
    const at = 'address' in peer ? peer : (before.peer as OverlayPeer);
    const other = at === peer ? before.what : what;
    throw wrong(at, `has the subnet ${at.subnet}, which meets that of ${other}`);
  }
}

export function overlayLines(identity: Identity, subnet: Subnet, mtu: number, there: boolean): string[] {
  const device = overlayDevice(identity);
  const make = `link add name ${device} mtu ${mtu} type vxlan id ${vniOf(subnet)} dstport ${VXLAN_PORT} nolearning ttl 64`;
  return [
    ...(there ? [] : [make]),
    `link set dev ${device} addrgenmode none`, // before it is on: see withoutLinkLocal
    `link set dev ${device} address ${overlayMac(subnet)} mtu ${mtu} up`,
  ];
}

/** What the kernel has of the device: destinations of our routes, and its forwarding entries. */
export interface OverlayState {
  readonly routes: readonly string[];
  readonly neighbours: readonly string[];
  readonly entries: readonly { readonly mac: string; readonly dst: string; readonly vni: number }[];
}

const entryKey = ({ mac, dst, vni }: OverlayState['entries'][number]) => `${mac} ${dst} ${vni}`;

export interface OverlayChange {
  /** For ip(8) and bridge(8): what is to be there, written over whatever was. Then what is to go. */
  readonly ip: readonly string[];
  readonly fdb: readonly string[];
  readonly removeIp: readonly string[];
  readonly removeFdb: readonly string[];
}

/** A network behind a peer, and its gateway, which stands for the peer at our device. */
interface Beyond {
  readonly cidr: string;
  readonly gateway: string;
  /** What packets of this node itself come from. */
  readonly from: string;
}

function networksOf(peer: OverlayPeer, own: Subnet, own6: Subnet6 | undefined): Beyond[] {
  const { cidr, gateway } = parseSubnet(peer.subnet);
  const networks = [{ cidr, gateway, from: own.gateway }];
  if (!own6 || peer.subnet6 === undefined) return networks;
  return [...networks, { ...parseSubnet6(peer.subnet6), from: own6.gateway }];
}

/** `peers`: those on other machines. `own6`: absent where this node has no IPv6. */
export function overlayChange(
  identity: Identity,
  own: Subnet,
  peers: readonly OverlayPeer[],
  state: OverlayState,
  own6?: Subnet6,
): OverlayChange {
  const device = overlayDevice(identity);
  const ip: string[] = [];
  const fdb: string[] = [];
  const staying = { routes: new Set<string>(), neighbours: new Set<string>(), entries: new Set<string>() };
  const knownEntries = new Set(state.entries.map(entryKey));
  const known = { routes: new Set(state.routes), neighbours: new Set(state.neighbours) };
  for (const peer of peers) {
    const { address } = peer;
    const subnet = parseSubnet(peer.subnet);
    const mac = overlayMac(subnet);
    const vni = vniOf(subnet);
    const entry = entryKey({ mac, dst: address, vni });
    staying.entries.add(entry);
    for (const { cidr, gateway, from } of networksOf(peer, own, own6)) {
      staying.routes.add(cidr);
      staying.neighbours.add(gateway);
      if (!known.neighbours.has(gateway)) {
        ip.push(`neigh replace ${gateway} lladdr ${mac} dev ${device} nud permanent`);
      }
      if (!known.routes.has(cidr)) {
        ip.push(`route replace ${cidr} via ${gateway} dev ${device} onlink src ${from} proto ${ROUTE_PROTO}`);
      }
    }
    if (!knownEntries.has(entry)) {
      fdb.push(`fdb replace ${mac} dev ${device} dst ${address} vni ${vni} self permanent`);
    }
  }
  const gone = (list: readonly string[], keep: ReadonlySet<string>) => list.filter((one) => !keep.has(one));
  const goneEntries = state.entries.filter((entry) => !staying.entries.has(entryKey(entry)));
  return {
    ip,
    fdb,
    removeIp: [
      ...gone(state.routes, staying.routes).map((cidr) => `route del ${cidr} dev ${device}`),
      ...gone(state.neighbours, staying.neighbours).map((address) => `neigh del ${address} dev ${device}`),
    ],
    removeFdb: goneEntries.map(
      ({ mac, dst, vni }) => `fdb del ${mac} dev ${device} dst ${dst} vni ${vni} self`,
    ),
  };
}
