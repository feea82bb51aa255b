/**
 * The choice of k sites for n weighted clients, as numbers: a table of costs, weights and capacities. A further column
 * stands for not being served at all: it costs more than any way, takes everybody, and is always open; so every choice has
 * an assignment, and a bound that can not be kept shows as clients that are not served.
 */
import { SkerryError } from '@skerry/model';

export interface ChooseRequest {
  /** Sites of which `replicas` are to be chosen. */
  readonly sites: number;
  /** Of each client: a number of users, or a load. */
  readonly weights: ArrayLike<number>;
  /** By client times `sites` plus site: milliseconds; Infinity where it may not go. */
  readonly latencyMs: ArrayLike<number>;
  /** Of one replica at each site, in the unit of the weights; default no bound. */
  readonly capacities?: ArrayLike<number>;
  readonly replicas: number;
}

export interface Instance {
  readonly clients: number;
  readonly sites: number;
  readonly replicas: number;
  /** Columns of `costs`: the sites, and the one for not being served. */
  readonly columns: number;
  /** By client times `columns` plus column. */
  readonly costs: Float64Array;
  /** The same by column times `clients` plus client. */
  readonly byColumn: Float64Array;
  readonly weights: Float64Array;
  /** The last is Infinity. */
  readonly capacities: Float64Array;
  readonly unservedMs: number;
}

/** Errors: request_invalid (numbers that do not go together). */
export function instanceOf(request: ChooseRequest): Instance {
  const { sites, replicas } = request;
  const clients = request.weights.length;
  if (request.latencyMs.length !== clients * sites)
    throw new SkerryError(
      'request_invalid',
      `${clients} clients and ${sites} sites need ${clients * sites} latencies, and there are ${request.latencyMs.length}`,
    );
  if (!Number.isInteger(replicas) || replicas < 0)
    throw new SkerryError('request_invalid', `${replicas} replicas can not be chosen`);
  let largest = 0;
  for (let at = 0; at < request.latencyMs.length; at++) {
    const latencyMs = request.latencyMs[at]!;
    if (!(latencyMs >= 0))
      throw new SkerryError('request_invalid', `a latency of ${latencyMs} ms can not be compared`);
    if (Number.isFinite(latencyMs)) largest = Math.max(largest, latencyMs);
  }
  // Serving one client more is worth any detour of all the others that a chain of moves could need.
  const unservedMs = (largest + 1) * (Math.min(sites, replicas) + 2);
  const columns = sites + 1;
  const costs = new Float64Array(clients * columns);
  const byColumn = new Float64Array(clients * columns);
  const capacities = new Float64Array(columns).fill(Number.POSITIVE_INFINITY);
  const weights = Float64Array.from(request.weights);
  for (let client = 0; client < clients; client++) {
    for (let site = 0; site < sites; site++) {
      const latencyMs = request.latencyMs[client * sites + site]!;
      costs[client * columns + site] = Number.isFinite(latencyMs) ? latencyMs : 2 * unservedMs;
    }
    costs[client * columns + sites] = unservedMs;
    for (let column = 0; column < columns; column++)
      byColumn[column * clients + client] = costs[client * columns + column]!;
  }
  if (request.capacities)
    for (let site = 0; site < sites; site++) capacities[site] = request.capacities[site]!;
  return {
    clients,
    sites,
    replicas: Math.min(replicas, sites),
    columns,
    costs,
    byColumn,
    weights,
    capacities,
    unservedMs,
  };
}
