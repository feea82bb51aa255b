/** The lines of ip(8) and nft(8) that make the parts of a lab. Pure: text out, nothing is run. Every line may be repeated. */
import { DEFAULT6 } from './lines6.ts';
import type { LabClient, LabPlan, Machine, Router } from './plan.ts';
import type { Route } from './routes.ts';
import type { LabState } from './state.ts';

/** Who wrote a route (ip-route(8), `proto`): a number that no routing daemon uses. */
export const ROUTE_OWNER = 177;

/** The lines between a site's router and a machine, and from a router to a client, have no delay of their own. */
export const shortLine = (at: string, device: string, part: string, own: string): string =>
  `link add name ${own} netns ${part} type veth peer name ${device} netns ${at}`;

/** Inside a router: its address on the loopback interface, for it is the same at all wires. */
export const routerLines = (router: Router): string[] => [
  'link set dev lo up',
  `addr replace ${router.address}/32 dev lo`,
];

/** Inside a machine. It knows the way to the lab and no other: there is none. */
export function machineLines(plan: LabPlan, machine: Machine, routerAddress: string): string[] {
  return [
    'link set dev lo up',
    ...(machine.role === 'agent' ? [`addr replace ${plan.nearestNode}/32 dev lo`] : []),
    'link set dev eth0 up',
    `addr replace ${machine.address}/32 dev eth0`,
    ...[plan.subnet, ...strangers(plan)].map(
      (to) => `route replace ${to} via ${routerAddress} dev eth0 onlink`,
    ),
  ];
}

/** Clients whose address was asked for, and is not of the lab's subnet. */
const strangers = ({ subnet, clients }: LabPlan): string[] => {
  const start = subnet.split('.').slice(0, 2).join('.');
  return clients.flatMap(({ address }) => (address.startsWith(`${start}.`) ? [] : [`${address}/32`]));
};

/** Inside a client: its address does not hang on an interface, for those come and go with access points. */
export const clientLines = (client: LabClient): string[] => [
  'link set dev lo up',
  `addr replace ${client.address}/32 dev lo`,
];

/** Inside a client, once `device` is there. */
export const attachLines = (client: LabClient, device: string, routerAddress: string): string[] => [
  `link set dev ${device} up`,
  `route replace default via ${routerAddress} dev ${device} onlink src ${client.address}`,
];

const target = (to: string): string => {
  if (to === 'default' || to === DEFAULT6) return to;
  return to.includes(':') ? `${to}/128` : `${to}/32`;
};
/** That the next router is there, whatever other routes say; of an address of the link it goes without saying. */
const needsOnlink = (via: string | undefined): boolean => via?.includes(':') === false;

const words = ({ to, via, device }: Route): string =>
  `${target(to)}${via === undefined ? '' : ` via ${via}`} dev ${device}${needsOnlink(via) ? ' onlink' : ''} proto ${ROUTE_OWNER}`;

/** From the routes that a router has to those that it is to have. Additions first: no moment without a way. */
export function routeLines(have: readonly Route[], want: readonly Route[]): string[] {
  const before = new Map(have.map((route) => [route.to, words(route)]));
  const wanted = new Set(want.map(({ to }) => to));
  return [
    ...want
      .filter((route) => before.get(route.to) !== words(route))
      .map((route) => `route replace ${words(route)}`),
    ...have.filter(({ to }) => !wanted.has(to)).map((route) => `route del ${words(route)}`),
  ];
}

/** Devices of a router that drop what arrives. */
export function deafDevices(state: LabState, router: string): string[] {
  return state.plan.wires.flatMap(({ name, between, device }) => {
    const cut = state.cuts[name];
    const other = between.find((end) => end !== router);
    if (!cut || !between.includes(router)) return [];
    return cut.from === undefined || cut.from === other ? [device] : [];
  });
}

/** The whole table of a router, in one transaction: what arrives over a cut wire is dropped, also what was under way. */
export function cutScript(devices: readonly string[]): string {
  const table = 'table inet skerry_lab';
  const rule =
    devices.length === 0 ? '' : `iifname { ${devices.map((name) => `"${name}"`).join(', ')} } drop`;
  return `add ${table}\ndelete ${table}\n${table} {\n  chain wires {\n    type filter hook prerouting priority raw; policy accept;\n    ${rule}\n  }\n}\n`;
}
