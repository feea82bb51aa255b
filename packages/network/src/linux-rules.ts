/**
 * The packet filter of one data folder as nft(8) scripts. Pure: text in, text out.
 *
 *   table inet    NAT outwards, published ports (prerouting for others, output for the host itself), what guests may
 *                 reach of the host, which forwarded packets may come in, what the overlay may carry
 *   table bridge  each port of the bridge may use one MAC and one address: what it says of itself is checked before
 *                 anything learns from it; a further card, on a bridge of the operator's, may use one MAC
 *
 * Published ports live in maps, so that a change is one element and never a rule.
 *
 * IPv6 has the same rules. A guest has one address there, too; none of the link (fe80::/10) is let through, and of what
 * neighbours say to each other (RFC 4861) only questions, and answers that tell of the guest's own address: a guest that
 * plays the router is not heard.
 */
import { type Identity, interfaceName } from '@skerry/host';
import { ipv6Hex } from '@skerry/model';
import type { Subnet } from './addressing.ts';
import type { Subnet6 } from './addressing6.ts';
import { overlayDevice, VXLAN_PORT, vniOf } from './peers.ts';
import type { AttachRequest } from './port.ts';

/** Where guests of peers come from and go to. */
export interface PeerRules {
  /** What a peer's guests come in by: the overlay, or the bridge of a peer on this very machine. */
  readonly ways: readonly { readonly device: string; readonly subnet: string; readonly subnet6?: string }[];
  /** Of peers on other machines. */
  readonly underlays: readonly string[];
}
export const NO_PEERS: PeerRules = { ways: [], underlays: [] };

export const deviceOf = (identity: Identity, request: Pick<AttachRequest, 'kind' | 'slot'>): string =>
  interfaceName(identity, request.kind === 'netns' ? 'v' : 't', request.slot);

/** Cards are counted from 1: `n`, the count, the slot. */
export const cardDevice = (identity: Identity, slot: number, index: number): string =>
  `${identity.interfacePrefix}n${index + 1}${slot.toString(36)}`;

/** Elements of one guest, `add` or `delete`; deleting is first adding, for nft 1.0.6 has no delete-if-there. */
export function elementScript(identity: Identity, verb: 'add' | 'delete', request: AttachRequest): string {
  const device = deviceOf(identity, request);
  const { address, address6, mac } = request;
  const elements = [
    `bridge ${identity.nftTable} addresses { "${device}" . ${mac} . ${address} }`,
    `bridge ${identity.nftTable} macs { "${device}" . ${mac} }`,
  ];
  if (address6 !== undefined)
    elements.push(
      `bridge ${identity.nftTable} addresses6 { "${device}" . ${mac} . ${address6} }`,
      `bridge ${identity.nftTable} targets6 { "${device}" . 0x${ipv6Hex(address6)} }`,
      `inet ${identity.nftTable} guests6 { ${address6} }`,
    );
  for (const [index, { mac: own }] of (request.cards ?? []).entries())
    elements.push(
      `bridge ${identity.nftTable} macs { "${cardDevice(identity, request.slot, index)}" . ${own} }`,
    );
  for (const { protocol, publish, port } of request.ports) {
    if (publish === undefined) continue;
    elements.push(`inet ${identity.nftTable} ${protocol}_published { ${publish} : ${address} . ${port} }`);
    // only to a guest that surely has the address: to another one the node refuses, as it does without it
    if (address6 !== undefined && request.kind === 'netns')
      elements.push(
        `inet ${identity.nftTable} ${protocol}_published6 { ${publish} : ${address6} . ${port} }`,
      );
  }
  const verbs = verb === 'add' ? ['add'] : ['add', 'delete'];
  return `${verbs.flatMap((word) => elements.map((element) => `${word} element ${element}`)).join('\n')}\n`;
}

export function removeTablesScript(identity: Identity): string {
  return ['inet', 'bridge']
    .flatMap((family) => ['add', 'delete'].map((verb) => `${verb} table ${family} ${identity.nftTable}\n`))
    .join('');
}

/** Where clouds tell a machine, and whoever asks in its name, its secrets: AWS, Google, Oracle, Scaleway, by their manuals. */
const METADATA6 = ['fd00:ec2::254', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe', 'fd00:42::42'];
/** Of ICMPv6 (IANA): what is said by routers, or to find them, and any other answer of a neighbour. */
const ROUTERS_ONLY = [
  ...['nd-neighbor-advert', 'nd-router-solicit', 'nd-router-advert', 'nd-redirect', 'mld-listener-query'],
  ...['148', '149', '151', '153'],
];

/** The sets of peers, replaced in one transaction. */
export function peersScript({ nftTable }: Identity, { ways, underlays }: PeerRules): string {
  const ways6 = ways.filter(({ subnet6 }) => subnet6 !== undefined);
  const sets: [name: string, elements: string[]][] = [
    ['peers', ways.map(({ device, subnet }) => `"${device}" . ${subnet}`)],
    ['peer_subnets', ways.map(({ subnet }) => subnet)],
    ['underlays', [...new Set(underlays)]],
    ['peers6', ways6.map(({ device, subnet6 }) => `"${device}" . ${subnet6}`)],
    ['peer_subnets6', ways6.map(({ subnet6 }) => subnet6!)],
  ];
  return sets
    .flatMap(([name, elements]) => [
      `flush set inet ${nftTable} ${name}\n`,
      ...(elements.length === 0 ? [] : [`add element inet ${nftTable} ${name} { ${elements.join(', ')} }\n`]),
    ])
    .join('');
}

/** Both tables made anew in one transaction, with the guests that are there: no moment without rules, none doubled. */
export function tableScript(
  identity: Identity,
  subnet: Subnet,
  subnet6: Subnet6 | undefined,
  guests: readonly AttachRequest[],
  peers: PeerRules,
): string {
  const { bridge, nftTable, interfacePrefix } = identity;
  const overlay = overlayDevice(identity);
  const vni = `0x${vniOf(subnet).toString(16)}`;
  const published = ['tcp', 'udp']
    .flatMap((protocol) => [
      `fib daddr type local dnat ip to ${protocol} dport map @${protocol}_published`,
      // IPv6 has no route_localnet: an answer to ::1 would never come
      `ip6 daddr != ::1 fib daddr type local dnat ip6 to ${protocol} dport map @${protocol}_published6`,
    ])
    .join('\n    ');
  /** Where there is no IPv6, nothing of it passes. */
  const on6 = (lines: (own: Subnet6) => string): string => (subnet6 === undefined ? '' : lines(subnet6));
  return `${removeTablesScript(identity)}
table inet ${nftTable} {
  map tcp_published { type inet_service : ipv4_addr . inet_service; }
  map udp_published { type inet_service : ipv4_addr . inet_service; }
  map tcp_published6 { type inet_service : ipv6_addr . inet_service; }
  map udp_published6 { type inet_service : ipv6_addr . inet_service; }
  set peers { type ifname . ipv4_addr; flags interval; }
  set peer_subnets { type ipv4_addr; flags interval; }
  set underlays { type ipv4_addr; }
  set peers6 { type ifname . ipv6_addr; flags interval; }
  set peer_subnets6 { type ipv6_addr; flags interval; }
  set guests6 { type ipv6_addr; }
  set led { type ipv4_addr; }
  set led6 { type ipv6_addr; }
  chain overlay_guard {
    type filter hook prerouting priority raw; policy accept;
    comment "the overlay carries packets of peers to our guests, and of clients whose connections are known here; nothing else"
    iifname "${overlay}" ip daddr @led ip saddr != ${subnet.cidr} accept
    iifname "${overlay}" ip6 daddr @led6 ${subnet6 === undefined ? 'drop' : `ip6 saddr != ${subnet6.cidr} accept`}
    iifname "${overlay}" iifname . ip saddr != @peers drop
    iifname "${overlay}" ip daddr != ${subnet.cidr} drop
    iifname "${overlay}" iifname . ip6 saddr != @peers6 drop
    ${subnet6 === undefined ? `iifname "${overlay}" meta nfproto ipv6 drop` : `iifname "${overlay}" ip6 daddr != ${subnet6.cidr} drop`}
  }
  chain underlay_guard {
    type filter hook input priority filter - 1; policy accept;
    comment "frames for our VNI (RFC 7348, 5: 24 bits behind 4 bytes) come from peers only"
    udp dport ${VXLAN_PORT} @th,96,24 ${vni} ip saddr != @underlays drop
    udp dport ${VXLAN_PORT} @th,96,24 ${vni} meta nfproto != ipv4 drop
  }
  chain loopback_guard {
    type filter hook prerouting priority raw; policy accept;
    comment "route_localnet lets the bridge carry 127.0.0.0/8: nothing from a guest may use that"
    iifname "${bridge}" ip daddr 127.0.0.0/8 drop
  }
  chain published_inward {
    type nat hook prerouting priority dstnat; policy accept;
    ${published}
  }
  chain published_host {
    type nat hook output priority -100; policy accept;
    ${published}
  }
  chain outward {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "${overlay}" ip saddr != ${subnet.cidr} snat ip to ${subnet.gateway} comment "so that the answer comes back by us"
    ip saddr ${subnet.cidr} oifname != { "${bridge}", "${overlay}" } ip daddr != @peer_subnets masquerade
    oifname "${bridge}" ip saddr 127.0.0.0/8 masquerade
    oifname "${bridge}" ip saddr ${subnet.cidr} ct status dnat masquerade
    ${on6(
      ({ cidr, gateway }) => `oifname "${overlay}" ip6 saddr != ${cidr} snat ip6 to ${gateway}
    ip6 saddr ${cidr} oifname != { "${bridge}", "${overlay}" } ip6 daddr != @peer_subnets6 masquerade
    oifname "${bridge}" ip6 saddr ${cidr} ct status dnat masquerade`,
    )}
  }
  chain to_host {
    type filter hook input priority filter; policy accept;
    iifname != { "${bridge}", "${overlay}" } accept
    ct state established,related accept
    iifname "${overlay}" icmp type echo-request accept
    iifname "${overlay}" icmpv6 type echo-request accept
    iifname "${overlay}" reject with icmpx admin-prohibited
    udp dport { 53, 67 } accept
    ip daddr ${subnet.gateway} tcp dport 53 accept
    icmp type echo-request accept
    ${on6(
      ({ gateway }) => `icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, echo-request } accept
    ip6 daddr ${gateway} tcp dport 53 accept`,
    )}
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }
  chain from_host {
    type filter hook output priority filter; policy accept;
    oifname "${bridge}" icmp type redirect drop
    oifname "${bridge}" icmpv6 type { nd-redirect, nd-router-advert } drop
  }
  chain through {
    type filter hook forward priority filter; policy accept;
    oifname "${overlay}" tcp flags syn tcp option maxseg size set rt mtu
    iifname != { "${bridge}", "${overlay}" } oifname != { "${bridge}", "${overlay}" } accept
    ${on6(
      ({ cidr }) =>
        `ip6 daddr ${cidr} ip6 daddr != @guests6 reject with icmpv6 addr-unreachable comment "nobody has it: the kernel need not ask (RFC 6583)"`,
    )}
    ct state established,related accept
    iifname "${bridge}" udp dport ${VXLAN_PORT} ip daddr @underlays drop comment "would pass there for a frame of ours"
    ct status dnat accept
    iifname . ip saddr @peers oifname "${bridge}" accept
    iifname . ip6 saddr @peers6 oifname "${bridge}" accept
    iifname "${bridge}" oifname "${bridge}" accept
    ip daddr 169.254.0.0/16 drop comment "link-local is never forwarded (RFC 3927, 7); a cloud's metadata service is there"
    ip6 daddr { ${METADATA6.join(', ')} } drop comment "the same services over IPv6"
    iifname "${bridge}" oifname != "${overlay}" accept
    iifname "${bridge}" ip daddr @peer_subnets accept
    iifname "${bridge}" ip6 daddr @peer_subnets6 accept
    drop
  }
}
table bridge ${nftTable} {
  set addresses { type ifname . ether_addr . ipv4_addr; }
  set macs { type ifname . ether_addr; }
  set addresses6 { type ifname . ether_addr . ipv6_addr; }
  set targets6 { typeof iifname . @th,64,128; }
  counter spoofed { }
  chain ports {
    type filter hook prerouting priority -250; policy accept;
    comment "before br_netfilter (-200 and later) shows the frame to other tables"
    iifname "${interfacePrefix}v*" jump identified
    iifname "${interfacePrefix}t*" jump identified
    iifname "${interfacePrefix}n*" jump own_mac
  }
  chain neighbours6 {
    comment "the target of an answer is at byte 8 (RFC 4861, 4.4); in pieces none of it may come (RFC 6980)"
    exthdr frag exists ip6 hoplimit 255 counter name spoofed drop
    icmpv6 type nd-neighbor-solicit accept
    icmpv6 type nd-neighbor-advert iifname . @th,64,128 @targets6 accept
    icmpv6 type { ${ROUTERS_ONLY.join(', ')} } counter name spoofed drop
    ip6 hoplimit != 255 accept comment "neighbours take nothing from each other that may have come from afar"
    meta l4proto != 255 accept comment "all that can be read"
    counter name spoofed drop
  }
  chain identified {
    ether type ip iifname . ether saddr . ip saddr @addresses accept
    ether type arp iifname . ether saddr @macs iifname . arp saddr ether . arp saddr ip @addresses accept
    ether type arp iifname . ether saddr @macs arp saddr ip 0.0.0.0 accept
    ether type ip iifname . ether saddr @macs ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    ether type ip6 iifname . ether saddr . ip6 saddr @addresses6 goto neighbours6
    ether type ip6 ip6 saddr :: drop comment "before a machine knows its address: nothing that anybody needs"
    counter name spoofed drop
  }
  chain own_mac {
    iifname . ether saddr @macs accept
    counter name spoofed drop
  }
}
${guests.map((guest) => elementScript(identity, 'add', guest)).join('')}${peersScript(identity, peers)}`;
}
