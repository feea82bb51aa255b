/**
 * The best choice of all, proved: branch and bound over which sites are open, with the bound of `lowerBound` and the exact
 * assignment. For some dozens of sites; it tells when it gave up before it had a proof. Meant for tests and benchmarks.
 */
import { assign } from './assign.ts';
import { lowerBound } from './bound.ts';
import type { Instance } from './instance.ts';

export interface Exact {
  readonly chosen: readonly number[];
  readonly cost: number;
  /** No choice costs less. Equal to `cost` when it is proved. */
  readonly bound: number;
  readonly proved: boolean;
  readonly nodes: number;
}

export function chooseExactly(
  instance: Instance,
  options: { readonly start: readonly number[]; readonly maxNodes?: number },
): Exact {
  const { sites, replicas } = instance;
  const maxNodes = options.maxNodes ?? 2000;
  let chosen = [...options.start];
  let cost = assign(instance, chosen).cost;
  /** Less than this is rounding. */
  const slack = () => 1e-7 * Math.max(1, Math.abs(cost));
  const better = (sitesChosen: readonly number[]) => {
    const { cost: found } = assign(instance, sitesChosen);
    if (found < cost) {
      cost = found;
      chosen = [...sitesChosen];
    }
  };
  const open: { fixed: Int8Array; bound: number; prices?: Float64Array }[] = [
    { fixed: new Int8Array(sites), bound: Number.NEGATIVE_INFINITY },
  ];
  let nodes = 0;
  while (open.length > 0 && nodes < maxNodes) {
    // The least bound first: the gap closes from below.
    let at = 0;
    for (let other = 1; other < open.length; other++) if (open[other]!.bound < open[at]!.bound) at = other;
    const [node] = open.splice(at, 1);
    if (!node || node.bound >= cost - slack()) continue;
    nodes++;
    const { fixed } = node;
    const found = lowerBound(instance, {
      upper: cost,
      steps: node.prices ? 150 : 600,
      fixed,
      enough: cost,
      ...(node.prices && { prices: node.prices }),
    });
    better(found.chosen);
    const bound = Math.max(found.cost, node.bound);
    if (bound >= cost - slack()) continue;
    let must = 0;
    let may = 0;
    for (const state of fixed) {
      if (state === 1) must++;
      if (state >= 0) may++;
    }
    if (must === replicas || may <= replicas) {
      better([...fixed.keys()].filter((site) => fixed[site] === 1 || (may <= replicas && fixed[site] === 0)));
      continue;
    }
    // The site that brings most among those not decided: leaving it out hurts most.
    let branch = -1;
    for (let site = 0; site < sites; site++)
      if (fixed[site] === 0 && (branch < 0 || found.values[site]! < found.values[branch]!)) branch = site;
    for (const state of [1, -1]) {
      const next = Int8Array.from(fixed);
      next[branch] = state;
      open.push({ fixed: next, bound, prices: found.prices });
    }
  }
  const pending = open.filter((node) => node.bound < cost - slack());
  const proved = pending.length === 0;
  return {
    chosen: chosen.sort((a, b) => a - b),
    cost,
    bound: proved ? cost : Math.min(cost, ...pending.map(({ bound }) => bound)),
    proved,
    nodes,
  };
}
