/**
 * The nodes with what they have and what is taken of it. Taking and giving for one instance takes constant time (and the
 * logarithm of the nodes for the rankings by free memory). It decides nothing and refuses nothing that was decided: a
 * node that shrank may have less than nothing free.
 */
import { RUNTIME_KINDS } from '@skerry/model';
import { createNames, type Names } from '../names.ts';
import { type Columns, createColumns, growColumns, KINDS, MILLI } from './columns.ts';
import { createCountTable } from './count-table.ts';
import { createInstances, type InstanceRow } from './instances.ts';
import type { FleetNode, Taking } from './node.ts';
import { createRanking, type Ranking } from './ranking.ts';

/** The nodes of one site: `nodes` in order of their numbers, `ranking` by position in it. */
export interface SiteNodes {
  readonly nodes: number[];
  ranking: Ranking;
}

export interface Fleet {
  readonly sites: Names;
  readonly groups: Names;
  /** Label pairs (`zone=a`) and taints (`gpu=`), as numbers. */
  readonly pairs: Names;
  readonly columns: Columns;
  /** Node numbers are below this; some may be of nodes that were removed. */
  readonly nodes: number;
  readonly instances: number;
  /** By free memory; only nodes that are ready and take new instances have a key. */
  readonly ranking: Ranking;
  set(node: FleetNode): void;
  /** What is placed there stays counted until it is given back. */
  remove(name: string): void;
  /** -1 when there is none. */
  find(name: string): number;
  /** As it was set. */
  node(number: number): FleetNode;
  at(site: number): SiteNodes | undefined;
  hasLabel(node: number, pair: number): boolean;
  taints(node: number): readonly number[];
  /** In place of what the same key has already. The node must be known. */
  take(key: string, taking: Taking): void;
  /** Whether there was something to give back. */
  give(key: string): boolean;
  /** Puts back a row that `get` or `of` gave. */
  put(row: InstanceRow): void;
  get(key: string): InstanceRow | undefined;
  of(node: number): InstanceRow[];
  portOwner(node: number, port: string): string | undefined;
  countAtSite(group: number, site: number): number;
  countAtNode(group: number, node: number): number;
  total(group: number): number;
  repelledAtSite(group: number, site: number): number;
  repelledAtNode(group: number, node: number): number;
}

const NONE: readonly number[] = [];
const NO_PORTS: readonly string[] = [];
/** Label under which the architecture of a node, and any other label, is compared: `key=value`. */
export const pairOf = (key: string, value: string): string => `${key}=${value}`;

export function createFleet(options: { readonly sites?: Names } = {}): Fleet {
  const sites = options.sites ?? createNames();
  const names = createNames();
  const groups = createNames();
  const pairs = createNames();
  const columns = createColumns();
  const specs: FleetNode[] = [];
  const labels: Set<number>[] = [];
  const taints: (readonly number[])[] = [];
  const ports: (Map<string, string> | undefined)[] = [];
  const bySite: (SiteNodes | undefined)[] = [];
  const placeInSite: number[] = [];
  const ranking = createRanking();
  const instances = createInstances();
  const siteCounts = createCountTable();
  const nodeCounts = createCountTable();
  const siteRepels = createCountTable();
  const nodeRepels = createCountTable();
  const totals: number[] = [];

  const rank = (node: number) => {
    const open = columns.present[node] && columns.ready[node] && columns.schedulable[node];
    const key = open ? columns.memoryFreeBytes[node]! : Number.NEGATIVE_INFINITY;
    ranking.set(node, key);
    // A node that was removed has no place in its site any more.
    if (columns.present[node]) bySite[columns.site[node]!]?.ranking.set(placeInSite[node]!, key);
  };
  const reorder = (place: SiteNodes) => {
    place.ranking = createRanking();
    place.nodes.forEach((node, at) => {
      placeInSite[node] = at;
    });
  };
  const leaveSite = (node: number) => {
    const place = bySite[columns.site[node]!];
    const at = place?.nodes.indexOf(node) ?? -1;
    if (!place || at < 0) return;
    place.nodes.splice(at, 1);
    reorder(place);
    for (const other of place.nodes) rank(other);
  };
  const enterSite = (node: number, site: number) => {
    let place = bySite[site];
    if (!place) {
      place = { nodes: [], ranking: createRanking() };
      bySite[site] = place;
    }
    const { nodes } = place;
    columns.site[node] = site;
    if (nodes.length === 0 || nodes.at(-1)! < node) {
      placeInSite[node] = nodes.push(node) - 1;
      return;
    }
    nodes.push(node);
    nodes.sort((a, b) => a - b);
    reorder(place);
    for (const other of nodes) rank(other);
  };
  const count = (row: InstanceRow, by: 1 | -1) => {
    const site = columns.site[row.node]!;
    for (const group of row.groups) {
      siteCounts.add(group, site, by);
      nodeCounts.add(group, row.node, by);
      totals[group] = (totals[group] ?? 0) + by;
    }
    for (const group of row.repelsAtSite) siteRepels.add(group, site, by);
    for (const group of row.repelsAtNode) nodeRepels.add(group, row.node, by);
  };
  const account = (row: InstanceRow, by: 1 | -1) => {
    const { node } = row;
    count(row, by);
    columns.cpuFreeMilli[node]! -= by * row.cpuMilli;
    columns.memoryFreeBytes[node]! -= by * row.memoryBytes;
    columns.diskFreeBytes[node]! -= by * row.diskBytes;
    columns.addressesFree[node]! -= by * row.addresses;
    columns.instances[node]! += by;
    for (const port of row.ports) {
      const owners = ports[node] ?? new Map<string, string>();
      ports[node] = owners;
      if (by === 1) owners.set(port, row.key);
      else if (owners.get(port) === row.key) owners.delete(port);
    }
    rank(node);
  };
  const give = (key: string) => {
    const row = instances.take(key);
    if (row) account(row, -1);
    return row !== undefined;
  };
  const put = (row: InstanceRow) => {
    give(row.key);
    instances.add(row);
    account(row, 1);
  };

  return {
    sites,
    groups,
    pairs,
    columns,
    ranking,
    get nodes() {
      return names.size;
    },
    get instances() {
      return instances.size;
    },
    set(spec) {
      const known = names.find(spec.name) >= 0;
      const node = names.number(spec.name);
      growColumns(columns, names.size);
      const site = sites.number(spec.site ?? '');
      const before = known ? specs[node] : undefined;
      specs[node] = spec;
      labels[node] = new Set(
        Object.entries(spec.labels ?? {}).map(([key, value]) => pairs.number(pairOf(key, value))),
      );
      taints[node] = (spec.taints ?? []).map(({ key, value }) => pairs.number(pairOf(key, value ?? '')));
      columns.tainted[node] = taints[node].length > 0 ? 1 : 0;
      const overcommit = spec.cpuOvercommit ?? 1;
      const had = before
        ? [
            before.cpus * MILLI * (before.cpuOvercommit ?? 1),
            before.memoryBytes - (before.reservedBytes ?? 0),
            before.diskBytes,
            before.addresses ?? Number.MAX_SAFE_INTEGER,
          ]
        : [0, 0, 0, 0];
      columns.cpuMilli[node] = Math.round(spec.cpus * MILLI);
      columns.cpuFreeMilli[node]! += Math.round(spec.cpus * MILLI * overcommit) - Math.round(had[0]!);
      columns.memoryBytes[node] = spec.memoryBytes;
      columns.memoryFreeBytes[node]! += spec.memoryBytes - (spec.reservedBytes ?? 0) - had[1]!;
      columns.diskBytes[node] = spec.diskBytes;
      columns.diskFreeBytes[node]! += spec.diskBytes - had[2]!;
      columns.addressesFree[node]! += (spec.addresses ?? Number.MAX_SAFE_INTEGER) - had[3]!;
      RUNTIME_KINDS.forEach((kind, at) => {
        const runtime = spec.runtimes[kind];
        columns.overheadBytes[node * KINDS + at] = runtime?.overheadBytes ?? Number.NaN;
        columns.accelerated[node * KINDS + at] = runtime?.accelerated ? 1 : 0;
      });
      columns.ready[node] = spec.ready ? 1 : 0;
      columns.schedulable[node] = spec.schedulable ? 1 : 0;
      if (columns.site[node] !== site || !columns.present[node]) {
        const rows = instances.of(node);
        if (known) for (const row of rows) count(row, -1);
        if (columns.present[node]) leaveSite(node);
        enterSite(node, site);
        for (const row of rows) count(row, 1);
      }
      columns.present[node] = 1;
      rank(node);
    },
    remove(name) {
      const node = names.find(name);
      if (node < 0 || !columns.present[node]) return;
      columns.present[node] = 0;
      rank(node);
      leaveSite(node);
    },
    find: (name) => {
      const node = names.find(name);
      return node >= 0 && columns.present[node] ? node : -1;
    },
    node: (number) => specs[number]!,
    at: (site) => bySite[site],
    hasLabel: (node, pair) => labels[node]!.has(pair),
    taints: (node) => taints[node] ?? NONE,
    take(key, taking) {
      const node = names.find(taking.node);
      if (node < 0) throw new RangeError(`no node ${taking.node} was ever set`);
      const repels = taking.repels ?? [];
      const numbers = (at: 'site' | 'node') =>
        repels.length === 0
          ? NONE
          : repels.filter((term) => term.at === at).map((term) => groups.number(term.group));
      put({
        key,
        node,
        cpuMilli: Math.round(taking.cpus * MILLI),
        memoryBytes: taking.memoryBytes,
        diskBytes: taking.diskBytes,
        addresses: taking.addresses ?? 1,
        priority: taking.priority ?? 0,
        ports: taking.ports ?? NO_PORTS,
        groups: taking.groups?.map((group) => groups.number(group)) ?? NONE,
        repelsAtSite: numbers('site'),
        repelsAtNode: numbers('node'),
      });
    },
    give,
    put,
    get: (key) => instances.get(key),
    of: (node) => instances.of(node),
    portOwner: (node, port) => ports[node]?.get(port),
    countAtSite: (group, site) => siteCounts.get(group, site),
    countAtNode: (group, node) => nodeCounts.get(group, node),
    total: (group) => totals[group] ?? 0,
    repelledAtSite: (group, site) => siteRepels.get(group, site),
    repelledAtNode: (group, node) => nodeRepels.get(group, node),
  };
}
