/**
 * The lines of ip(8) and tc(8) that make and remove interfaces. Pure: the state that was found goes in, lines come out.
 * Whose an interface is, its alias tells: the instance's uid.
 */
import { type Identity, interfaceName, type LinkState } from '@skerry/host';
import { bridgeMac, type Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
import { deviceOf } from './linux-rules.ts';
import type { Attachment, AttachRequest } from './port.ts';

/** Unprivileged owner of taps: the user that guests with their own kernel run as. */
export interface TapOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * No address of the link: it would be a way past the rules. A line of its own, before the one that turns the interface on:
 * of one message the kernel does that first, and gives the address.
 */
export const withoutLinkLocal = (device: string): string[] => [`link set dev ${device} addrgenmode none`];

export function bridgeLines(identity: Identity, subnet: Subnet, mtu: number, there: boolean): string[] {
  const { bridge } = identity;
  const make = `link add name ${bridge} mtu ${mtu} address ${bridgeMac(identity)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`;
  return [
    ...(there ? [] : [make]),
    ...withoutLinkLocal(bridge),
    `link set dev ${bridge} address ${bridgeMac(identity)} mtu ${mtu} up`,
    `addr replace ${subnet.gateway}/${subnet.prefixLength} dev ${bridge}`,
  ];
}

/** Once IPv6 is turned on at the bridge. Nobody else can have the address: it need not be asked for (RFC 4862, 5.4). */
export const bridgeLines6 = ({ bridge }: Identity, { gateway, prefixLength }: Subnet6): string[] => [
  `addr replace ${gateway}/${prefixLength} dev ${bridge} nodad`,
];

/** Where the guest is, told once and for all: the kernel takes no other word for it. */
export const neighbourLine = (
  { bridge }: Identity,
  { address6, mac }: Pick<AttachRequest, 'address6' | 'mac'>,
): string[] =>
  address6 === undefined ? [] : [`neigh replace ${address6} lladdr ${mac} dev ${bridge} nud permanent`];

export const netnsName = (identity: Identity, uid: string): string => `${identity.netnsPrefix}${uid}`;

export interface Found {
  /** The host's IP rules see bridged frames (br_netfilter), so that a packet of a guest to its own published port is turned
   * back on the bridge rather than routed. */
  readonly bridgedRules: boolean;
  readonly netns: boolean;
  readonly link: LinkState | undefined;
}

/** Makes an interface a port of the bridge. */
export function portLines(
  identity: Identity,
  device: string,
  uid: string,
  mtu: number,
  bridgedRules: boolean,
): string[] {
  const lines = [
    ...withoutLinkLocal(device),
    `link set dev ${device} alias ${uid} mtu ${mtu} master ${identity.bridge} up`,
  ];
  if (bridgedRules) lines.push(`link set dev ${device} type bridge_slave hairpin on`);
  return lines;
}

/** What is missing of a guest's interface, on the host's side. */
export function attachLines(
  identity: Identity,
  request: AttachRequest,
  mtu: number,
  found: Found,
  owner: TapOwner,
): string[] {
  const device = deviceOf(identity, request);
  const { link } = found;
  const lines: string[] = [];
  let there = link !== undefined;
  if (link && (link.alias !== request.uid || (request.kind === 'netns' && !found.netns))) {
    lines.push(`link del dev ${device}`); // of another guest, or its other end is in a namespace that is gone
    there = false;
  }
  const netns = netnsName(identity, request.uid);
  if (request.kind === 'netns' && !found.netns) lines.push(`netns add ${netns}`);
  if (!there && request.kind === 'netns') {
    lines.push(
      `link add name ${device} mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${request.mac} netns ${netns}`,
    );
  }
  if (!there && request.kind === 'tap') {
    lines.push(`tuntap add dev ${device} mode tap user ${owner.uid} group ${owner.gid}`);
  }
  if (!there || link?.bridge !== identity.bridge || !link.up) {
    lines.push(...portLines(identity, device, request.uid, mtu, found.bridgedRules));
  }
  lines.push(...neighbourLine(identity, request));
  return lines;
}

/** What is missing of one further card. `bridge` is there. */
export function cardLines(
  device: string,
  uid: string,
  bridge: { readonly name: string; readonly mtu: number },
  link: LinkState | undefined,
  owner: TapOwner,
): string[] {
  const isOurs = link?.alias === uid;
  return [
    ...(link && !isOurs ? [`link del dev ${device}`] : []),
    ...(isOurs ? [] : [`tuntap add dev ${device} mode tap user ${owner.uid} group ${owner.gid}`]),
    ...(isOurs && link.bridge === bridge.name && link.up
      ? []
      : [`link set dev ${device} alias ${uid} mtu ${bridge.mtu} master ${bridge.name} addrgenmode none up`]),
  ];
}

type Inside = Pick<Attachment, 'address' | 'prefixLength' | 'gateway' | 'v6'>;

/** Inside the namespace; every line may be repeated. */
export function insideLines({ address, prefixLength, gateway, v6 }: Inside): string[] {
  return [
    'link set dev lo up',
    ...withoutLinkLocal('eth0'),
    'link set dev eth0 up',
    `addr replace ${address}/${prefixLength} dev eth0`,
    `route replace default via ${gateway}`,
    ...(v6 === undefined
      ? []
      : [
          // all by way of the gateway, whose place is known: no neighbour is ever asked
          `addr replace ${v6.address}/128 dev eth0 nodad`,
          `neigh replace ${v6.gateway} lladdr ${v6.gatewayMac} dev eth0 nud permanent`,
          `route replace default via ${v6.gateway} dev eth0 onlink`,
        ]),
  ];
}

export interface Removal {
  readonly netns: readonly string[];
  readonly devices: readonly string[];
}

/**
 * Removes interfaces and namespaces. The interfaces go as one group, for the kernel waits some 20 ms for each request
 * to delete, however many interfaces it names; and first, for the end of a namespace would hold the same lock.
 */
export function removeLines(identity: Identity, { netns, devices }: Removal): string[] {
  const group = 0x40000000 + (Number.parseInt(identity.id, 16) & 0x3fffffff); // in no use elsewhere on the host
  return [
    ...devices.map((device) => `link set dev ${device} group ${group}`),
    ...(devices.length === 0 ? [] : [`link del group ${group}`]),
    ...netns.map((name) => `netns del ${name}`),
  ];
}

const leaf = (device: string, bps: number): string[] => {
  const burst = Math.max(32 * 1024, Math.ceil(bps / 8 / 250)); // 4 ms of the rate: HTB's clock is coarser than a packet
  return [
    `qdisc add dev ${device} root handle 1: htb default 1`,
    `class add dev ${device} parent 1: classid 1:1 htb rate ${bps}bit ceil ${bps}bit burst ${burst} cburst ${burst} quantum 1514`,
    `qdisc add dev ${device} parent 1:1 handle 10: fq_codel`,
  ];
};

export interface Shaping {
  /** For ip(8), before `tc`. */
  readonly ip: readonly string[];
  /** For tc(8). `qdisc del` may fail, and so may fq_codel: HTB has a queue of its own where the kernel lacks it. */
  readonly tc: readonly string[];
}

export const shaperOf = (identity: Identity, slot: number): string => interfaceName(identity, 'i', slot);

/**
 * Bandwidth of one guest. Towards it: HTB on the host's end. From it: what arrives is led through an IFB of its own with
 * the same HTB, for an interface can only shape what it sends (tc-mirred(8)).
 */
export function shapingLines(
  identity: Identity,
  request: AttachRequest,
  mtu: number,
  shaped: boolean,
): Shaping {
  const device = deviceOf(identity, request);
  const shaper = shaperOf(identity, request.slot);
  const { inBps, outBps } = request.bandwidth ?? {};
  const tc: string[] = shaped ? [`qdisc del dev ${device} root`, `qdisc del dev ${device} ingress`] : [];
  if (inBps !== undefined) tc.push(...leaf(device, inBps));
  if (outBps === undefined) return { ip: shaped ? [`link del dev ${shaper}`] : [], tc };
  tc.push(
    `qdisc del dev ${shaper} root`,
    ...leaf(shaper, outBps),
    `qdisc add dev ${device} handle ffff: ingress`,
    `filter add dev ${device} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ${shaper}`,
  );
  const ip = [
    `link add name ${shaper} mtu ${mtu} txqueuelen 1000 type ifb`,
    ...withoutLinkLocal(shaper),
    `link set dev ${shaper} alias ${request.uid} up`,
  ];
  return { ip, tc };
}
