/**
 * What a lab is made of, and the name, address and interface of each part: drawn up once, when the lab is made, and kept. Pure.
 *
 *   client ── access point ══ wire ══ site ── machine (an agent, or the controller)
 *
 * Access points and sites are routers; wires have delay, bandwidth and loss; the short lines have none. Every part has one
 * address, wherever it is attached: a router leads to each of them by a route of its own, so that a client keeps its address
 * when it moves.
 */
import { parseBandwidth, parseMillis, SkerryError } from '@skerry/model';
import { addressAt } from './addresses.ts';
import { CONTROLLER, type LabFile } from './lab-file.ts';

export interface Router {
  readonly name: string;
  /** `site`, or the type of an access point. */
  readonly type: string;
  readonly netns: string;
  readonly address: string;
}
export interface Machine {
  readonly name: string;
  readonly role: 'agent' | 'controller';
  readonly site: string;
  readonly netns: string;
  readonly address: string;
  /** Its interface at the site's router; its own is `eth0`. */
  readonly device: string;
  /** Arguments of its program that the lab file asks for. */
  readonly words: readonly string[];
}
export interface LabClient {
  readonly name: string;
  readonly netns: string;
  readonly address: string;
  /** Its interface at the router that it is attached to; its own is `eth0` or `eth1`, in turns. */
  readonly device: string;
}
export interface Wire {
  readonly name: string;
  readonly between: readonly [string, string];
  /** The same at both ends. */
  readonly device: string;
  readonly latencyMs: number;
  /** Bits a second; 0: unlimited. */
  readonly bandwidthBps: number;
  /** Share of the packets that are lost, 0 to 1. */
  readonly loss: number;
}
export interface LabPlan {
  readonly subnet: string;
  /** What every node has beside its own address; it leads to the nearest of them. */
  readonly nearestNode: string;
  readonly routers: readonly Router[];
  readonly machines: readonly Machine[];
  readonly clients: readonly LabClient[];
  readonly wires: readonly Wire[];
}

/** Of every network namespace of a lab. */
export const netnsPrefix = (id: string): string => `skerry-lab-${id}-`;

/** `id`: eight hex digits; `subnet`: as `chooseLabSubnet` gave it. Errors: address_exhausted. */
export function planLab(file: LabFile, id: string, subnet: string): LabPlan {
  const prefix = netnsPrefix(id);
  let next = 1;
  const asked = new Set(file.clients.flatMap(({ spec }) => spec.address ?? []));
  const address = (): string => {
    for (;;) {
      const free = addressAt(subnet, next++);
      if (!asked.has(free)) return free;
    }
  };
  const nearestNode = address();
  const routers = [
    ...file.sites.map(({ metadata: { name } }) => ({ name, type: 'site' })),
    ...file.accessPoints.map(({ metadata: { name }, spec: { type } }) => ({ name, type: type as string })),
  ].map((router) => ({ ...router, netns: `${prefix}r-${router.name}`, address: address() }));
  const { site, lostAfter } = file.spec.controller;
  const controllerWords = lostAfter === undefined ? [] : ['--lost-after', lostAfter];
  const machines = [
    { name: CONTROLLER, role: 'controller' as const, site, words: controllerWords },
    ...file.spec.nodes.map((node) => ({ ...node, role: 'agent' as const, words: [] })),
  ].map((machine, index) => ({
    ...machine,
    netns: `${prefix}m-${machine.name}`,
    address: address(),
    device: `to-m${index}`,
  }));
  const clients = file.clients.map(({ metadata: { name }, spec }, index) => ({
    name,
    netns: `${prefix}c-${name}`,
    address: spec.address ?? address(),
    device: `to-c${index}`,
  }));
  for (const { name, address: own } of clients)
    if ([...routers, ...machines].some((other) => other.address === own))
      throw new SkerryError('already_exists', `the address ${own} of the client ${name} is taken`);
  return { subnet, nearestNode, routers, machines, clients, wires: wiresOf(file) };
}

function wiresOf(file: LabFile): Wire[] {
  const written = file.links.map(({ metadata, spec }) => ({
    name: metadata.name,
    between: [spec.between[0]!, spec.between[1]!] as [string, string],
    latencyMs: parseMillis(spec.latency) as number,
    bandwidthBps: spec.bandwidth === undefined ? 0 : (parseBandwidth(spec.bandwidth) as number),
    loss: spec.loss ?? 0,
  }));
  const joined = (a: string, b: string) =>
    written.some(({ between }) => between.includes(a) && between.includes(b));
  // an access point stands at its site: no way to go, unless a Link between the two says otherwise
  const implied = file.accessPoints.flatMap(({ metadata: { name }, spec: { site } }) =>
    site === undefined || joined(name, site)
      ? []
      : [
          {
            name: `${name}-at-${site}`,
            between: [name, site] as [string, string],
            ...{ latencyMs: 0, bandwidthBps: 0, loss: 0 },
          },
        ],
  );
  return [...written, ...implied].map((wire, index) => ({ ...wire, device: `wire${index}` }));
}

/** Errors: not_found, naming what there is. */
export function named<T extends { readonly name: string }>(what: string, all: readonly T[], name: string): T {
  const found = all.find((one) => one.name === name);
  if (found) return found;
  const names = all.map((one) => one.name).join(', ') || 'none';
  throw new SkerryError('not_found', `the lab has no ${what} "${name}"; it has: ${names}`);
}
