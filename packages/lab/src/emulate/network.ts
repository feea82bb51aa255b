/**
 * The network of a lab on this machine: a namespace for each part, wires and short lines between them, routes, cuts. Each function
 * makes what is missing of what the state describes; all may be repeated, and none depends on what another process did before.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import {
  changeEmulatedLink,
  ipJson,
  ipv6Works,
  listNetns,
  netnsPath,
  nftApply,
  setNetnsSysctls,
  startEmulatedLink,
  type WireWay,
  writeWireWays,
} from '@skerry/host';
import {
  attachLines,
  clientLines,
  cutScript,
  deafDevices,
  machineLines,
  ROUTE_OWNER,
  routeLines,
  routerLines,
  shortLine,
} from '../lines.ts';
import {
  attachLines6,
  bothFamilies,
  DEFAULT6,
  FORWARDS6,
  machineLines6,
  own6,
  QUIET6,
  up6,
} from '../lines6.ts';
import {
  type LabClient,
  type LabPlan,
  type Machine,
  named,
  netnsPrefix,
  type Router,
  type Wire,
} from '../plan.ts';
import { type Attachments, type Route, routesOf } from '../routes.ts';
import type { LabState } from '../state.ts';
import { type Bench, ip } from './tools.ts';

const FORWARDS = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.conf.all.send_redirects': '0',
  'net.ipv4.conf.default.send_redirects': '0',
};
/** Packets may come by another way than answers go: during a handover, and where a wire drops one direction. */
const EITHER_WAY = { 'net.ipv4.conf.all.rp_filter': '0', 'net.ipv4.conf.default.rp_filter': '0' };

export const routerOf = (plan: LabPlan, name: string): Router =>
  named('site or access point', plan.routers, name);

/** What routing goes by. */
export const attachmentsOf = ({ plan, cuts, attached, off }: LabState): Attachments => ({
  cut: new Set(Object.keys(cuts).filter((name) => cuts[name]!.from === undefined)),
  clients: new Map(Object.entries(attached)),
  machines: new Set(plan.machines.map(({ name }) => name).filter((name) => !off.includes(name))),
});

const loopback = (part: { readonly address: string }): string[] => (ipv6Works() ? [own6(part, 'lo')] : []);

/** The namespaces of routers, of clients, and of the machines that are on. */
export async function ensureNamespaces({ state, signal }: Bench): Promise<void> {
  const { plan, off } = state;
  const there = new Set(listNetns(netnsPrefix(state.id)));
  const [quiet, forwards6] = ipv6Works() ? [QUIET6, FORWARDS6] : [{}, {}];
  const parts = [
    ...plan.routers.map((part) => ({
      ...part,
      settings: { ...FORWARDS, ...EITHER_WAY, ...quiet, ...forwards6 },
    })),
    ...plan.clients.map((part) => ({ ...part, settings: { ...EITHER_WAY, ...quiet } })),
    ...plan.machines.filter(({ name }) => !off.includes(name)).map((part) => ({ ...part, settings: quiet })),
  ].filter(({ netns }) => !there.has(netns));
  await ip(
    parts.map(({ netns }) => `netns add ${netns}`),
    signal,
  );
  await Promise.all(
    parts.map(async ({ netns, settings }) => {
      if (Object.keys(settings).length > 0) await setNetnsSysctls(netnsPath(netns), settings, signal);
    }),
  );
  await Promise.all([
    ...plan.routers.map((router) => ip([...routerLines(router), ...loopback(router)], signal, router.netns)),
    ...plan.clients.map((client) => ip([...clientLines(client), ...loopback(client)], signal, client.netns)),
  ]);
}

/** A wire as the file has it, with what was changed since. */
export function wireNow({ changes }: LabState, wire: Wire): Wire {
  return { ...wire, ...changes[wire.name] };
}

function waysOf(state: LabState, wire: Wire): [WireWay, WireWay] {
  const { latencyMs, bandwidthBps, loss } = wireNow(state, wire);
  const way = { delayUs: latencyMs * 1000, rateBps: bandwidthBps, lossPpm: loss * 1e6 };
  return [way, way];
}

/** The wires, each by a process of its own; one that was killed is started again. */
export async function ensureWires({ folder, state, programs, signal }: Bench): Promise<void> {
  const { plan } = state;
  mkdirSync(folder.wire(''), { recursive: true, mode: 0o700 });
  const up = new Map<string, string[]>();
  await Promise.all(
    plan.wires.map(async (wire) => {
      const ends = wire.between.map((name) => routerOf(plan, name).netns) as [string, string];
      writeWireWays(folder.wire(wire.name), waysOf(state, wire));
      const { device } = wire;
      await startEmulatedLink(
        {
          program: programs.link,
          parametersPath: folder.wire(wire.name),
          ends: [
            { netns: ends[0], device },
            { netns: ends[1], device },
          ],
        },
        signal,
      );
      for (const netns of ends) up.set(netns, [...(up.get(netns) ?? []), `link set dev ${device} up`]);
      for (const name of ipv6Works() ? wire.between : []) {
        const router = routerOf(plan, name);
        up.get(router.netns)!.unshift(...up6(router, device));
      }
    }),
  );
  await Promise.all([...up].map(([netns, lines]) => ip(lines, signal, netns)));
}

export function changeWire({ folder, state }: Bench, wire: Wire): void {
  changeEmulatedLink(folder.wire(wire.name), waysOf(state, wire));
}

/** A part at one of its interfaces. */
const at = (device: string, part: { readonly address: string }): string[] =>
  ipv6Works() ? up6(part, device) : [];

/** The line of a machine to its site. */
export async function connectMachine({ state, signal }: Bench, machine: Machine): Promise<void> {
  const site = routerOf(state.plan, machine.site);
  await ip([shortLine(site.netns, machine.device, machine.netns, 'eth0')], signal);
  await Promise.all([
    ip([...at(machine.device, site), `link set dev ${machine.device} up`], signal, site.netns),
    ip(
      [
        ...(ipv6Works() ? machineLines6(machine, site) : []),
        ...machineLines(state.plan, machine, site.address),
      ],
      signal,
      machine.netns,
    ),
  ]);
}

/** Takes the machine's namespace and its line away: what a machine without power is. */
export async function disconnectMachine({ state, signal }: Bench, machine: Machine): Promise<void> {
  await ip([`link del dev ${machine.device}`], signal, routerOf(state.plan, machine.site).netns);
  await ip([`netns del ${machine.netns}`], signal);
}

/** The interface by which a client is attached now: its own one, and there is at most one but during a handover. */
export async function clientDevices({ signal }: Bench, client: LabClient): Promise<string[]> {
  const rows = await ipJson<{ ifname: string }>(['-n', client.netns, 'link'], signal);
  return rows.map(({ ifname }) => ifname).filter((name) => /^eth[01]$/.test(name));
}

/** Whether a router has this interface. */
export async function hasDevice({ state, signal }: Bench, router: string, device: string): Promise<boolean> {
  const rows = await ipJson<{ ifname: string }>(['-n', routerOf(state.plan, router).netns, 'link'], signal);
  return rows.some(({ ifname }) => ifname === device);
}

/** A line from a client to an access point, up at both ends; nothing is led over it yet. */
export async function drawLine(
  { state, signal }: Bench,
  client: LabClient,
  accessPoint: string,
  own: string,
): Promise<void> {
  const router = routerOf(state.plan, accessPoint);
  await ip([shortLine(router.netns, client.device, client.netns, own)], signal);
  await Promise.all([
    ip([...at(client.device, router), `link set dev ${client.device} up`], signal, router.netns),
    ip([...at(own, client), `link set dev ${own} up`], signal, client.netns),
  ]);
}

/** The client sends by this line from now on. */
export const sendBy = (
  { state, signal }: Bench,
  client: LabClient,
  accessPoint: string,
  own: string,
): Promise<void> => {
  const router = routerOf(state.plan, accessPoint);
  const lines6 = ipv6Works() ? attachLines6(client, own, router) : [];
  return ip([...lines6, ...attachLines(client, own, router.address)], signal, client.netns);
};

/** Drops what arrives over wires that are cut; where nothing is, nothing is dropped. */
export async function applyCuts({ state, signal }: Bench, routers: readonly string[]): Promise<void> {
  await Promise.all(
    routers.map((name) =>
      nftApply(cutScript(deafDevices(state, name)), signal, routerOf(state.plan, name).netns),
    ),
  );
}

interface RouteRow {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
}

/** What the routers have; `before`: only those that shall have others from now on than they had to have then. */
export async function readRoutes({ state, signal }: Bench, before?: LabState): Promise<Map<string, Route[]>> {
  const read = async (netns: string, family: '-4' | '-6') => {
    const show = ['-n', netns, family, 'route', 'show', 'proto', `${ROUTE_OWNER}`];
    return (await ipJson<RouteRow>(show, signal)).map(({ dst, gateway, dev }) => ({
      ...{ to: family === '-6' && dst === 'default' ? DEFAULT6 : dst, device: dev },
      ...(gateway === undefined ? {} : { via: gateway }),
    }));
  };
  const routesFrom = (of: LabState) => routesOf(of.plan, attachmentsOf(of));
  const [want, had] = [routesFrom(state), before && !before.unfinished ? routesFrom(before) : undefined];
  const concerned = state.plan.routers.filter(
    ({ name }) => !had || JSON.stringify(want.get(name)) !== JSON.stringify(had.get(name)),
  );
  const all = await Promise.all(
    concerned.map(async ({ name, netns }) => {
      const [routes, routes6] = await Promise.all([read(netns, '-4'), ipv6Works() ? read(netns, '-6') : []]);
      return [name, [...routes, ...routes6]] as [string, Route[]];
    }),
  );
  return new Map(all);
}

/**
 * From the routes that these routers have to those of the state; `first`: routers that must know before the others. Routes that a
 * vanished interface took along are gone already.
 */
export async function applyRoutes(
  { state, signal }: Bench,
  have: ReadonlyMap<string, readonly Route[]>,
  first: readonly string[] = [],
): Promise<void> {
  const want = routesOf(state.plan, attachmentsOf(state));
  const apply = async ({ name, netns }: Router) => {
    const ways = want.get(name) ?? [];
    const lines = routeLines(have.get(name) ?? [], ipv6Works() ? bothFamilies(ways) : ways);
    if (lines.length > 0) await ip(lines, signal, netns, /No such process|Cannot find device/);
  };
  const isFirst = ({ name }: Router) => first.includes(name);
  const concerned = state.plan.routers.filter(({ name }) => have.has(name));
  await Promise.all(concerned.filter(isFirst).map(apply));
  await Promise.all(concerned.filter((router) => !isFirst(router)).map(apply));
}

/** A folder that only we read. */
export function ownFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}
