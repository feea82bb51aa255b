/**
 * The checks that a node has to pass, in the order in which they are made: what never changes first, what is free last.
 * Placing asks only whether one fails; explaining asks each for its words. So the two can not disagree.
 */
import { formatBytes, formatMillis } from '@skerry/model';
import { KINDS, MILLI } from '../fleet/columns.ts';
import type { Context, Term } from './context.ts';
import type { ReasonCode } from './reasons.ts';
import type { Reason } from './request.ts';

export interface Check {
  readonly code: ReasonCode;
  fails(context: Context, node: number): boolean;
  /** Only of one that fails. */
  tell(context: Context, node: number): Omit<Reason, 'code'>;
}

const nameOf = (context: Context, node: number) => context.fleet.node(node).name;
const siteOf = (context: Context, node: number) => context.fleet.columns.site[node]!;
const overhead = ({ fleet, kind }: Context, node: number) =>
  fleet.columns.overheadBytes[node * KINDS + kind]!;
/** With the runtime's overhead; a runtime that is missing fails its own check. */
export const memoryNeeded = (context: Context, node: number): number =>
  context.request.memoryBytes + (overhead(context, node) || 0);
const here = ({ fleet }: Context, { at, number }: Term, node: number) =>
  at === 'site' ? fleet.countAtSite(number, fleet.columns.site[node]!) : fleet.countAtNode(number, node);
/** The first of a group that wants to be near itself has nobody to be near to. */
const lacksCompany = (context: Context, term: Term, node: number) =>
  here(context, term, node) === 0 &&
  !(context.groups.includes(term.number) && context.fleet.total(term.number) === 0);
const place = (context: Context, at: 'site' | 'node', node: number) =>
  at === 'node' ? nameOf(context, node) : `the site ${context.fleet.node(node).site ?? 'of no name'}`;
const repeller = (context: Context, node: number) =>
  context.groups.find(
    (group) =>
      context.fleet.repelledAtNode(group, node) > 0 ||
      context.fleet.repelledAtSite(group, siteOf(context, node)) > 0,
  );
const takenPort = ({ fleet, request }: Context, node: number) =>
  request.ports?.find((port) => fleet.portOwner(node, port) !== undefined);
const missingNetwork = ({ fleet, request }: Context, node: number) =>
  request.networks?.find((name) => !fleet.node(node).networks?.includes(name));
const positive = (value: number) => Math.max(0, value);

export const CHECKS: readonly Check[] = [
  {
    code: 'not_ready',
    fails: ({ fleet }, node) => fleet.columns.ready[node] === 0,
    tell: (context, node) => ({ text: `${nameOf(context, node)} is not ready`, numbers: {} }),
  },
  {
    code: 'unschedulable',
    fails: ({ fleet }, node) => fleet.columns.schedulable[node] === 0,
    tell: (context, node) => ({ text: `${nameOf(context, node)} takes no new instances`, numbers: {} }),
  },
  {
    code: 'runtime',
    fails: (context, node) => Number.isNaN(overhead(context, node)),
    tell: (context, node) => {
      const { runtime } = context.request;
      const why = context.fleet.node(node).lacks?.[runtime];
      return {
        text: `${nameOf(context, node)} can not run guests of the runtime "${runtime}"${why ? `: ${why}` : ''}`,
        numbers: { runtime },
      };
    },
  },
  {
    code: 'acceleration',
    fails: ({ fleet, kind, request }, node) =>
      request.accelerated === true && fleet.columns.accelerated[node * KINDS + kind] === 0,
    tell: (context, node) => ({
      text: `${nameOf(context, node)} would emulate the processor of a guest of the runtime "${context.request.runtime}"`,
      numbers: { runtime: context.request.runtime },
    }),
  },
  {
    code: 'network',
    fails: (context, node) => missingNetwork(context, node) !== undefined,
    tell: (context, node) => {
      const network = missingNetwork(context, node)!;
      return { text: `${nameOf(context, node)} has no network "${network}"`, numbers: { network } };
    },
  },
  {
    code: 'selector',
    fails: ({ fleet, wanted }, node) =>
      wanted.length > 0 && wanted.some((pair) => !fleet.hasLabel(node, pair)),
    tell: (context, node) => {
      const labels = context.fleet.node(node).labels ?? {};
      const wrong = Object.entries(context.request.nodeSelector ?? {}).filter(
        ([key, value]) => labels[key] !== value,
      );
      return {
        text: `${nameOf(context, node)} has ${wrong.map(([key]) => `${key}=${labels[key] ?? '(none)'}`).join(', ')}, and ${context.request.key} wants ${wrong.map(([key, value]) => `${key}=${value}`).join(', ')}`,
        numbers: Object.fromEntries(wrong.map(([key]) => [key, labels[key] ?? ''])),
      };
    },
  },
  {
    code: 'taint',
    fails: ({ fleet, tolerated }, node) =>
      fleet.columns.tainted[node] === 1 && fleet.taints(node).some((pair) => !tolerated?.has(pair)),
    tell: (context, node) => {
      const { fleet, tolerated } = context;
      const taints = fleet
        .taints(node)
        .filter((pair) => !tolerated?.has(pair))
        .map((pair) => fleet.pairs.name(pair).replace(/=$/, ''));
      return {
        text: `${nameOf(context, node)} has the taint ${taints.join(', ')}, which ${context.request.key} does not tolerate`,
        numbers: { taint: taints.join(',') },
      };
    },
  },
  {
    code: 'other_site',
    fails: (context, node) => context.atSites !== undefined && !context.atSites.has(siteOf(context, node)),
    tell: (context, node) => ({
      text: `${nameOf(context, node)} is at ${place(context, 'site', node)}, and ${context.request.key} wants ${context.request.atSites!.join(' or ')}`,
      numbers: { site: context.fleet.node(node).site ?? '' },
    }),
  },
  {
    code: 'latency',
    fails: (context, node) =>
      context.maxLatencyMs !== Number.POSITIVE_INFINITY &&
      !(context.worstMs(siteOf(context, node)) <= context.maxLatencyMs),
    tell: (context, node) => {
      const worstMs = context.worstMs(siteOf(context, node));
      const bound = formatMillis(context.maxLatencyMs);
      return Number.isFinite(worstMs)
        ? {
            text: `${nameOf(context, node)} is ${formatMillis(worstMs)} away from the farthest access point, and the bound is ${bound}`,
            numbers: { latencyMs: worstMs, maxLatencyMs: context.maxLatencyMs },
          }
        : {
            text: `${nameOf(context, node)} can not be reached from every access point over links that are up`,
            numbers: { maxLatencyMs: context.maxLatencyMs },
          };
    },
  },
  {
    code: 'affinity',
    fails: (context, node) =>
      context.affinity.length > 0 && context.affinity.some((term) => lacksCompany(context, term, node)),
    tell: (context, node) => {
      const terms = context.affinity.filter((term) => lacksCompany(context, term, node));
      return {
        text: terms
          .map(
            ({ group, at }) =>
              `no instance of ${group} is ${at === 'node' ? 'on' : 'at'} ${place(context, at, node)}`,
          )
          .join('; '),
        numbers: { group: terms.map(({ group }) => group).join(',') },
      };
    },
  },
  {
    code: 'anti_affinity',
    fails: (context, node) =>
      context.antiAffinity.length > 0 && context.antiAffinity.some((term) => here(context, term, node) > 0),
    tell: (context, node) => {
      const terms = context.antiAffinity.filter((term) => here(context, term, node) > 0);
      return {
        text: terms
          .map(
            (term) =>
              `${place(context, term.at, node)} has ${here(context, term, node)} of ${term.group}, which ${context.request.key} must be away from`,
          )
          .join('; '),
        numbers: { group: terms.map(({ group }) => group).join(',') },
      };
    },
  },
  {
    code: 'repelled',
    fails: (context, node) => repeller(context, node) !== undefined,
    tell: (context, node) => {
      const group = context.fleet.groups.name(repeller(context, node)!);
      return {
        text: `an instance on ${nameOf(context, node)} or at its site keeps ${group} away`,
        numbers: { group },
      };
    },
  },
  {
    code: 'port_taken',
    fails: (context, node) => takenPort(context, node) !== undefined,
    tell: (context, node) => {
      const port = takenPort(context, node)!;
      const by = context.fleet.portOwner(node, port)!;
      return { text: `${port} of ${nameOf(context, node)} is published by ${by}`, numbers: { port, by } };
    },
  },
  {
    code: 'memory',
    fails: (context, node) => memoryNeeded(context, node) > context.fleet.columns.memoryFreeBytes[node]!,
    tell: (context, node) => {
      const needed = memoryNeeded(context, node);
      const free = positive(context.fleet.columns.memoryFreeBytes[node]!);
      const { memoryBytes, reservedBytes = 0 } = context.fleet.node(node);
      const kept = reservedBytes > 0 ? ` (${formatBytes(reservedBytes)} are kept for the system)` : '';
      return {
        text: `${context.request.key} needs ${formatBytes(needed)} of memory with its runtime's share, and ${nameOf(context, node)} has ${formatBytes(free)} free of ${formatBytes(memoryBytes)}${kept}`,
        numbers: { needed, free },
      };
    },
  },
  {
    code: 'cpus',
    fails: ({ fleet: { columns }, cpuMilli }, node) =>
      cpuMilli > columns.cpuFreeMilli[node]! || cpuMilli > columns.cpuMilli[node]!,
    tell: (context, node) => {
      const { cpus, cpuOvercommit = 1 } = context.fleet.node(node);
      const needed = context.request.cpus;
      const free = positive(context.fleet.columns.cpuFreeMilli[node]! / MILLI);
      const why =
        needed > cpus
          ? `${nameOf(context, node)} has ${cpus}`
          : `${nameOf(context, node)} has ${free} left to promise of ${cpus * cpuOvercommit}${cpuOvercommit === 1 ? '' : ` (${cpus} processors, each promised ${cpuOvercommit} times)`}`;
      return { text: `${context.request.key} needs ${needed} cpus, and ${why}`, numbers: { needed, free } };
    },
  },
  {
    code: 'disk',
    fails: ({ fleet: { columns }, request }, node) => request.diskBytes > columns.diskFreeBytes[node]!,
    tell: (context, node) => {
      const needed = context.request.diskBytes;
      const free = positive(context.fleet.columns.diskFreeBytes[node]!);
      return {
        text: `${context.request.key} needs ${formatBytes(needed)} of disk, and ${nameOf(context, node)} has ${formatBytes(free)} free of ${formatBytes(context.fleet.node(node).diskBytes)}`,
        numbers: { needed, free },
      };
    },
  },
  {
    code: 'addresses',
    fails: ({ fleet }, node) => fleet.columns.addressesFree[node]! < 1,
    tell: (context, node) => ({
      text: `the network of ${nameOf(context, node)} has no free address`,
      numbers: { free: 0 },
    }),
  },
];

/** What ending other instances can change. */
export const FREED_BY_ENDING: ReadonlySet<ReasonCode> = new Set([
  'port_taken',
  'memory',
  'cpus',
  'disk',
  'addresses',
]);

/** All but the bound on latency, which a search knows of a whole site. */
const OF_NODE = CHECKS.filter(({ code }) => code !== 'latency');

/** Whether the node will do, at a site that is near enough. */
export function passes(context: Context, node: number): boolean {
  for (const check of OF_NODE) if (check.fails(context, node)) return false;
  return true;
}

export const reasonsOf = (context: Context, node: number): Reason[] =>
  CHECKS.filter((check) => check.fails(context, node)).map((check) => ({
    code: check.code,
    ...check.tell(context, node),
  }));
