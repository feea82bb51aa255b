/**
 * The optimum of a choice of sites, proved by HiGHS: a mixed-integer program with a variable for each site (open or not) and
 * one for the share of each client that each site serves. It knows nothing of how the project chooses, and is told nothing
 * of it. Compiled to WebAssembly, it runs on one thread; where it is not done in time, its bound stands in.
 */
import type { ChooseRequest, instanceOf } from '@skerry/placement';
import loadHighs, { type Highs } from 'highs';

type Instance = ReturnType<typeof instanceOf>;

export interface Optimum {
  /** Of the best choice found; Infinity where none was found in time. */
  readonly cost: number;
  /** No choice costs less. */
  readonly bound: number;
  readonly proved: boolean;
  readonly tookMs: number;
}

/** Default of HiGHS is 1e-4, and distances of 1e-3 are what is measured. */
const GAP = 1e-7;

interface Column {
  readonly cost: number;
  readonly upper: number;
  readonly rows: readonly (readonly [row: number, value: number])[];
}

/** Rows: each client is served; what a site takes is within its capacity; nobody is served by a closed site; k are open. */
function modelOf(instance: Instance) {
  const { clients, sites, replicas, columns: width, costs, weights, capacities, unservedMs } = instance;
  const rowLower: number[] = [];
  const rowUpper: number[] = [];
  const row = (lower: number, upper: number) => {
    rowLower.push(lower);
    return rowUpper.push(upper) - 1;
  };
  const none = Number.NEGATIVE_INFINITY;
  const served = Array.from({ length: clients }, () => row(1, 1));
  const room = Array.from({ length: sites }, (_, site) =>
    Number.isFinite(capacities[site]!) ? row(none, 0) : undefined,
  );
  const open = row(none, replicas);
  const ofSites = room.map((bounded, site): (readonly [number, number])[] => {
    const counted = [open, 1] as const;
    return bounded === undefined ? [counted] : [counted, [bounded, -capacities[site]!]];
  });
  const shares: Column[] = [];
  for (let client = 0; client < clients; client++) {
    const weight = weights[client]!;
    for (let site = 0; site < sites; site++) {
      const latencyMs = costs[client * width + site]!;
      if (latencyMs >= unservedMs) continue; // it may not go there
      const isOpen = row(none, 0);
      ofSites[site]!.push([isOpen, -1]);
      const rows: (readonly [number, number])[] = [
        [served[client]!, 1],
        [isOpen, 1],
      ];
      const bounded = room[site];
      if (bounded !== undefined) rows.push([bounded, weight]);
      shares.push({ cost: weight * latencyMs, upper: 1, rows });
    }
    shares.push({ cost: weight * unservedMs, upper: 1, rows: [[served[client]!, 1]] });
  }
  const all: Column[] = [...ofSites.map((rows) => ({ cost: 0, upper: 1, rows })), ...shares];
  const starts = [0];
  const indices: number[] = [];
  const values: number[] = [];
  for (const { rows } of all) {
    for (const [at, value] of [...rows].sort((a, b) => a[0] - b[0])) {
      indices.push(at);
      values.push(value);
    }
    starts.push(indices.length);
  }
  const integrality = new Int32Array(all.length);
  integrality.fill(1, 0, sites);
  const [numCols, numRows] = [all.length, rowLower.length];
  return {
    ...{ numCols, numRows, rowLower, rowUpper, integrality },
    colCost: all.map(({ cost }) => cost),
    colLower: new Float64Array(numCols),
    colUpper: all.map(({ upper }) => upper),
    matrix: {
      ...{ format: 'csc' as const, numRows, numCols },
      ...{
        starts: Int32Array.from(starts),
        indices: Int32Array.from(indices),
        values: Float64Array.from(values),
      },
    },
  };
}

export async function createOptimum(limitS: number): Promise<(instance: Instance) => Optimum> {
  // Its types describe the CommonJS build, whose default export is a property; imported, it is the loader itself.
  const load = loadHighs as unknown as typeof loadHighs.default;
  const highs: Highs = await load();
  return (instance) =>
    highs.withModel(modelOf(instance), (model) => {
      model.options.set({
        ...{ output_flag: false, time_limit: limitS, mip_rel_gap: GAP, mip_abs_gap: GAP },
      });
      const begunMs = performance.now();
      model.run();
      const tookMs = performance.now() - begunMs;
      const proved = model.getModelStatus() === highs.constants.modelStatus.optimal;
      const bound = Number(model.info.get('mip_dual_bound'));
      return { cost: model.getObjectiveValue(), bound, proved, tookMs };
    });
}

/** What is wrong with a choice: a capacity or a bound that is broken, a client that is served twice or by nobody. */
export function brokenBy(
  request: ChooseRequest,
  choice: {
    readonly sites: readonly number[];
    readonly served: readonly { client: number; site: number; weight: number }[];
  },
): string[] {
  const broken: string[] = [];
  const taken = new Map<number, number>();
  const given = new Float64Array(request.weights.length);
  if (choice.sites.length > request.replicas) broken.push(`${choice.sites.length} sites are open`);
  for (const { client, site, weight } of choice.served) {
    given[client]! += weight;
    if (site < 0) continue;
    taken.set(site, (taken.get(site) ?? 0) + weight);
    if (!choice.sites.includes(site)) broken.push(`client ${client} is served by ${site}, which is closed`);
    if (!Number.isFinite(request.latencyMs[client * request.sites + site]!))
      broken.push(`client ${client} is served by ${site} beyond its bound`);
  }
  for (const [site, weight] of taken)
    if (weight > (request.capacities?.[site] ?? Number.POSITIVE_INFINITY) + 1e-6)
      broken.push(`site ${site} takes ${weight} of ${request.capacities![site]}`);
  given.forEach((weight, client) => {
    if (Math.abs(weight - request.weights[client]!) > 1e-6) broken.push(`client ${client} counts ${weight}`);
  });
  return broken;
}
