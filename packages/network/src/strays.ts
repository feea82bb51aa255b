/**
 * Connections of clients that came to this node while they stood. Only the node where a connection to a virtual address began
 * knows where it leads; its packets are strays everywhere else. Where the client came from is known: there they are sent on,
 * as they are, over the overlay, and the answers come to the client by themselves. Pure.
 *
 *   packet of a connection that is not known here
 *     of a client that came from elsewhere  -> to the node before, which knows it or sends it on to the one before that
 *     of a client that is here for long     -> as any other: whoever is asked has never heard of it, and refuses
 *     of nobody that is known               -> to all neighbours, for it may have come from one of them a moment ago; the one
 *                                              that knows the connection takes it, the others drop it. After two seconds: refused
 *
 * Tables of their own, one for each family: what copies a packet to another machine (`dup`) is not to be had in `inet`.
 */
import type { Identity } from '@skerry/host';
import { overlayDevice } from './peers.ts';

/** What is known of clients, each by its address of either family. */
export interface StrayPaths {
  /** Of clients that are at this node. */
  readonly here: readonly string[];
  /** Clients whose connections began elsewhere, with the gateway of the node to ask; absent: this is the first one. */
  readonly moved: readonly { readonly address: string; readonly gateway?: string }[];
  /** Whether a client that nobody told of may come at any moment. */
  readonly othersMayCome: boolean;
  /** Gateways of the nodes that it may come from. */
  readonly neighbours: readonly string[];
  /** Virtual addresses of services. */
  readonly virtual: readonly string[];
}
export const NO_STRAYS: StrayPaths = {
  here: [],
  moved: [],
  othersMayCome: false,
  neighbours: [],
  virtual: [],
};

/** A client is told of within a second of its coming. */
const PATIENCE_S = 2;
const REMEMBERED_S = 60;
const MOST_HELD = 65_536;
/** Whoever sends packets of no connection to a virtual address makes a few of each. */
const ASKED_PER_SECOND = 2000;

const FAMILIES = [
  { family: 'ip', type: 'ipv4_addr', redirect: 'icmp type redirect' },
  { family: 'ip6', type: 'ipv6_addr', redirect: 'icmpv6 type nd-redirect' },
] as const;
type Family = (typeof FAMILIES)[number];

const tableOf = ({ nftTable }: Identity) => `${nftTable}_strays`;
const isOf = ({ family }: Family, address: string) => address.includes(':') === (family === 'ip6');
const elements = (list: readonly string[]) =>
  list.length === 0 ? '' : `elements = { ${[...new Set(list)].join(', ')} }`;

const removeTable = (identity: Identity, { family }: Family) =>
  `add table ${family} ${tableOf(identity)}\ndelete table ${family} ${tableOf(identity)}\n`;

export const removeStraysScript = (identity: Identity): string =>
  FAMILIES.map((family) => removeTable(identity, family)).join('');

/** `overlay`: whether its device is there; without one nothing can be sent on. */
export function straysScript(identity: Identity, paths: StrayPaths, overlay: boolean): string {
  return FAMILIES.map((family) => tableScript(identity, family, paths, overlay)).join('');
}

function tableScript(identity: Identity, family: Family, paths: StrayPaths, overlay: boolean): string {
  const { family: word, type, redirect } = family;
  const only = (list: readonly string[]) => list.filter((address) => isOf(family, address));
  const virtual = only(paths.virtual);
  const moved = paths.moved.filter(({ address }) => isOf(family, address));
  if (virtual.length === 0 || (moved.length === 0 && !paths.othersMayCome))
    return removeTable(identity, family);
  const device = overlayDevice(identity);
  const sent = overlay ? moved.filter(({ gateway }) => gateway !== undefined && isOf(family, gateway)) : [];
  const ways = sent.map(({ address, gateway }) => `${address} : ${gateway}`);
  const onward = `${word} saddr @sent dup to ${word} saddr map @former device "${device}"
    ${word} saddr @sent drop`;
  const held = `${word} saddr . tcp sport`;
  const ask = `${held} @young goto ask
    ${held} @seen reject with tcp reset
    add @young { ${held} }
    add @seen { ${held} } goto ask`;
  const neighbours = overlay ? only(paths.neighbours) : [];
  const asked = neighbours.map((gateway) => `dup to ${gateway} device "${device}"`);
  const dynamic = (seconds: number) =>
    `type ${type} . inet_service; size ${MOST_HELD}; flags dynamic,timeout; timeout ${seconds}s;`;
  return `${removeTable(identity, family)}
table ${word} ${tableOf(identity)} {
  set virtual { type ${type}; ${elements(virtual)} }
  set here { type ${type}; ${elements(only(paths.here))} }
  set moved { type ${type}; ${elements(moved.map(({ address }) => address))} }
  set sent { type ${type}; ${elements(sent.map(({ address }) => address))} }
  map former { type ${type} : ${type}; ${elements(ways)} }
  set young { ${dynamic(PATIENCE_S)} }
  set seen { ${dynamic(REMEMBERED_S)} }
  chain ask {
    limit rate over ${ASKED_PER_SECOND}/second burst ${ASKED_PER_SECOND} packets drop
    ${asked.join('\n    ')}
    drop
  }
  chain unknown {
    ${sent.length === 0 ? '' : onward}
    iifname "${device}" ${word} saddr @moved reject with tcp reset
    iifname "${device}" drop comment "another node will know it"
    ${word} saddr @here return
    ${paths.othersMayCome ? ask : ''}
  }
  chain passing {
    type filter hook prerouting priority raw; policy accept;
    comment "answers of other nodes to clients behind this one: tracked, they would make a stray look like an answer"
    ${word} saddr @virtual notrack
  }
  chain strays {
    type filter hook prerouting priority mangle; policy accept;
    comment "after the table of connections was asked, before anything is led elsewhere"
    iifname "${identity.bridge}" return
    ${word} daddr != @virtual return
    iifname "${device}" meta l4proto != tcp drop
    iifname "${device}" ct state new tcp flags & syn == syn drop comment "nothing begins over the overlay"
    ct state new tcp flags & syn == 0 goto unknown
    ct state invalid tcp flags & (fin | rst) != 0 goto unknown
  }
  chain quiet {
    type filter hook output priority filter; policy accept;
    comment "the overlay is no way that a client should be told of"
    ${redirect} ${word} daddr @moved drop
  }
}
`;
}

/** Of the table that guards the overlay: clients’ packets to virtual addresses may come in by it. Whole. */
export function strayGuests({ nftTable }: Identity, { moved, virtual, othersMayCome }: StrayPaths): string {
  const isUsed = othersMayCome || moved.length > 0;
  return FAMILIES.flatMap((family) => {
    const name = family.family === 'ip6' ? 'led6' : 'led';
    const list = isUsed ? [...new Set(virtual.filter((address) => isOf(family, address)))] : [];
    return [
      `flush set inet ${nftTable} ${name}\n`,
      ...(list.length === 0 ? [] : [`add element inet ${nftTable} ${name} { ${list.join(', ')} }\n`]),
    ];
  }).join('');
}
