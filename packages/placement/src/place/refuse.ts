/** Why nothing will do, counted over all nodes, with the best that could be had where a bound on latency stands in the way. */
import { formatMillis } from '@skerry/model';
import { CHECKS } from './checks.ts';
import { type Context, merged } from './context.ts';
import { REASONS, type ReasonCode } from './reasons.ts';
import type { BestToBeHad, Refused } from './request.ts';
import { selectBest } from './select.ts';

/** Nodes within the bound that are named with their reason. */
const NAMED = 3;

export function refuse(context: Context): Refused {
  const { fleet } = context;
  const counts = new Map<ReasonCode, { code: ReasonCode; nodes: number; example: string }>();
  const within: string[] = [];
  const bounded = context.maxLatencyMs !== Number.POSITIVE_INFINITY;
  const near = bounded ? sitesWithin(context) : undefined;
  let nodes = 0;
  for (let node = 0; node < fleet.nodes; node++) {
    if (!fleet.columns.present[node]) continue;
    nodes++;
    const tooFar = near !== undefined && !near.has(fleet.columns.site[node]!);
    const check = CHECKS.find((one) => (one.code === 'latency' ? tooFar : one.fails(context, node)));
    if (!check) continue;
    let count = counts.get(check.code);
    if (!count) {
      count = { code: check.code, nodes: 0, example: check.tell(context, node).text };
      counts.set(check.code, count);
    }
    count.nodes++;
    if (bounded && !tooFar && within.length < NAMED) within.push(check.tell(context, node).text);
  }
  const reasons = [...counts.values()].sort((a, b) => b.nodes - a.nodes || (a.code < b.code ? -1 : 1));
  const [first] = reasons;
  if (!first) {
    return {
      outcome: 'refused',
      code: 'no_nodes',
      text: `${context.request.key} has nowhere to go: ${REASONS.no_nodes.title}. ${REASONS.no_nodes.remedy}`,
      reasons: [],
    };
  }
  const told = reasons.map(({ code, nodes: count, example }) =>
    count === 1 ? example : `${count} nodes: ${REASONS[code].title} (${example})`,
  );
  const best = bounded ? bestWithoutBound(context) : undefined;
  return {
    outcome: 'refused',
    code: first.code,
    text: [
      `none of ${nodes} node${nodes === 1 ? '' : 's'} will do: ${told.join('; ')}`,
      ...(bounded ? [wordsOfBest(context, best, within)] : []),
      REASONS[first.code].remedy,
    ].join('. '),
    reasons,
    ...(best && { best }),
  };
}

/** Those that are within the bound of every access point, found without looking any farther. */
function sitesWithin({ near, maxLatencyMs }: Context): Set<number> {
  const within = new Set<number>();
  for (let at = 0; near; at++) {
    const site = near.site(at);
    if (site < 0 || near.meanMs(at) > maxLatencyMs) break;
    if (near.worstMs(at) <= maxLatencyMs) within.add(site);
  }
  return within;
}

function bestWithoutBound(context: Context): BestToBeHad | undefined {
  const { fleet, topology, request } = context;
  const found = selectBest({ ...context, maxLatencyMs: Number.POSITIVE_INFINITY });
  if (!found) return undefined;
  const { name, site = '' } = fleet.node(found.node);
  let farthest = { accessPoint: '', latencyMs: -1 };
  for (const accessPoint of merged(request.near ?? []).keys()) {
    const latencyMs =
      topology.kindOf(site) === 'site'
        ? topology.distance(accessPoint, site).latencyMs
        : Number.POSITIVE_INFINITY;
    if (latencyMs > farthest.latencyMs) farthest = { accessPoint, latencyMs };
  }
  return { node: name, site, ...farthest };
}

function wordsOfBest(context: Context, best: BestToBeHad | undefined, within: readonly string[]): string {
  const bound = formatMillis(context.maxLatencyMs);
  const inTheWay =
    within.length > 0 ? `Within ${bound} there would be: ${within.join('; ')}` : `No node is within ${bound}`;
  if (!best) return `${inTheWay}, and none would do without that bound`;
  if (!Number.isFinite(best.latencyMs))
    return `${inTheWay}. Without the bound it could go to ${best.node}, which ${best.accessPoint} can not reach over links that are up`;
  const path = context.topology.path(best.accessPoint, best.site);
  const slowest = path.reduce<(typeof path)[number] | undefined>(
    (slow, hop) => (!slow || hop.latencyMs > slow.latencyMs ? hop : slow),
    undefined,
  );
  const link = slowest
    ? `; most of the way is the link ${slowest.link} with ${formatMillis(slowest.latencyMs)}`
    : '';
  return `${inTheWay}. The best that could be had is ${formatMillis(best.latencyMs)} on ${best.node}, from ${best.accessPoint}${link}`;
}
