/**
 * What would have to be ended so that a request of a higher priority fits: on the node where that costs least. Only
 * instances of a lower priority are ever named, never one of the same or a higher one. It ends nothing.
 */

import type { InstanceRow } from '../fleet/instances.ts';
import { CHECKS, FREED_BY_ENDING, memoryNeeded } from './checks.ts';
import type { Context } from './context.ts';
import { compareScores, type Scored, scoreOf } from './score.ts';

export interface Preemption {
  readonly node: number;
  /** The cheapest first. */
  readonly ends: readonly InstanceRow[];
  readonly scored: Scored;
}

/** Lower priorities are cheaper; of equal ones the larger, so that fewer have to go. */
const byCost = (a: InstanceRow, b: InstanceRow) =>
  a.priority - b.priority || b.memoryBytes - a.memoryBytes || (a.key < b.key ? -1 : 1);

function victimsOn(context: Context, node: number): InstanceRow[] | undefined {
  const { fleet, request, cpuMilli } = context;
  const { columns } = fleet;
  const own = request.priority ?? 0;
  const lower = fleet.of(node).filter(({ priority }) => priority < own);
  if (lower.length === 0 || cpuMilli > columns.cpuMilli[node]!) return undefined;
  const owners = new Set(
    request.ports?.map((port) => fleet.portOwner(node, port)).filter((key) => key !== undefined),
  );
  const chosen = lower.filter(({ key }) => owners.has(key));
  if (chosen.length < owners.size) return undefined;
  let memory = columns.memoryFreeBytes[node]! - memoryNeeded(context, node);
  let cpus = columns.cpuFreeMilli[node]! - cpuMilli;
  let disk = columns.diskFreeBytes[node]! - request.diskBytes;
  let addresses = columns.addressesFree[node]! - 1;
  const count = (row: InstanceRow, sign: 1 | -1) => {
    memory += sign * row.memoryBytes;
    cpus += sign * row.cpuMilli;
    disk += sign * row.diskBytes;
    addresses += sign * row.addresses;
  };
  const fits = () => memory >= 0 && cpus >= 0 && disk >= 0 && addresses >= 0;
  for (const row of chosen) count(row, 1);
  for (const row of lower.filter(({ key }) => !owners.has(key)).sort(byCost)) {
    if (fits()) break;
    chosen.push(row);
    count(row, 1);
  }
  if (!fits()) return undefined;
  // Spares again what turned out not to be needed, the dearest first.
  const kept = new Set<string>();
  for (const row of [...chosen].sort((a, b) => -byCost(a, b))) {
    if (owners.has(row.key)) continue;
    count(row, -1);
    if (fits()) kept.add(row.key);
    else count(row, 1);
  }
  return chosen.filter(({ key }) => !kept.has(key)).sort(byCost);
}

const blocked = (context: Context, node: number) =>
  CHECKS.some((check) => !FREED_BY_ENDING.has(check.code) && check.fails(context, node));

/** Whether the node will do once `ends` are gone: what it has to be near to may be among them. */
function holdsAfter({ fleet }: Context, ends: readonly InstanceRow[], check: () => boolean): boolean {
  for (const { key } of ends) fleet.give(key);
  try {
    return check();
  } finally {
    for (const row of ends) fleet.put(row);
  }
}

/** Looks at every node. The best by: the highest priority that is ended, how many are, their memory, then as for placing. */
export function planPreemption(context: Context): Preemption | undefined {
  const { fleet } = context;
  const plans: (Preemption & { readonly cost: readonly number[] })[] = [];
  for (let node = 0; node < fleet.nodes; node++) {
    if (!fleet.columns.present[node] || blocked(context, node)) continue;
    const ends = victimsOn(context, node);
    if (!ends) continue;
    plans.push({
      node,
      ends,
      scored: scoreOf(context, node, context.latencyMs(fleet.columns.site[node]!)),
      cost: [
        ends.at(-1)?.priority ?? Number.NEGATIVE_INFINITY,
        ends.length,
        ends.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
      ],
    });
  }
  plans.sort(
    (a, b) =>
      a.cost.map((value, at) => value - b.cost[at]!).find((difference) => difference !== 0) ??
      compareScores(a.scored, b.scored),
  );
  return plans.find(({ node, ends }) =>
    holdsAfter(context, ends, () => !CHECKS.some((check) => check.fails(context, node))),
  );
}
