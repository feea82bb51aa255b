/**
 * What IPv6 adds to the lines of lines.ts. Pure. Where IPv4 is content with an address on loopback, a neighbour of IPv6 answers
 * for the addresses of the very interface that it is asked at (RFC 4861, 7.2.3): so a part has one of the link at each.
 */
import { address6Of, LAB_SUBNET6, linkLocalOf } from './addresses.ts';
import type { Route } from './routes.ts';

/** The way to whatever has none of its own, as `default` of IPv4. */
export const DEFAULT6 = '::/0';

/**
 * Of every namespace: nobody else is there, so there is no use in asking who has an address, or who routes. And routes are those
 * of the lab: while they change, a router may take its neighbour for a nearer way and say so, and who believes it asks for
 * three seconds where nobody is.
 */
export const QUIET6 = Object.fromEntries(
  ['all', 'default'].flatMap((name) => [
    [`net.ipv6.conf.${name}.accept_dad`, '0'],
    [`net.ipv6.conf.${name}.router_solicitations`, '0'],
    [`net.ipv6.conf.${name}.accept_redirects`, '0'],
  ]),
);
export const FORWARDS6 = { 'net.ipv6.conf.all.forwarding': '1', 'net.ipv6.conf.default.forwarding': '1' };

interface Part {
  readonly address: string;
}

/** Of a part, on an interface that is there: its own, for which it is asked there, or loopback. */
export const own6 = ({ address }: Part, device: string): string =>
  `addr replace ${address6Of(address)}/128 dev ${device} nodad`;

/** Before the interface is turned on, so that it has no other one, and after. */
export const up6 = ({ address }: Part, device: string): string[] => [
  `link set dev ${device} addrgenmode none`,
  `link set dev ${device} up`,
  `addr replace ${linkLocalOf(address)}/64 dev ${device} nodad`,
];

/** Inside a machine. */
export const machineLines6 = (machine: Part, router: Part): string[] => [
  ...up6(machine, 'eth0'),
  own6(machine, 'eth0'),
  `route replace ${LAB_SUBNET6} via ${linkLocalOf(router.address)} dev eth0`,
];

/** Inside a client, once `device` is there. */
export const attachLines6 = (client: Part, device: string, router: Part): string[] => [
  own6(client, device),
  `route replace default via ${linkLocalOf(router.address)} dev ${device} src ${address6Of(client.address)}`,
];

/** The same routes, and the same ways of IPv6. */
export const bothFamilies = (routes: readonly Route[]): Route[] =>
  routes.flatMap((route) => [
    route,
    {
      to: route.to === 'default' ? DEFAULT6 : address6Of(route.to),
      ...(route.via === undefined ? {} : { via: linkLocalOf(route.via) }),
      device: route.device,
    },
  ]);
