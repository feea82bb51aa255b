/**
 * Placement: how many a second with the durable binding included, how that grows with the number of nodes, and what a world
 * takes in memory.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createPlacer, type PlaceRequest, seeded } from '@skerry/placement';
import { edgeWorld, SHAPES, type Shape } from '@skerry/placement/testing';
import { openSqliteStore, type Store } from '@skerry/store';
import type { Finding, Table } from './report.ts';
import { digits, median, percentile } from './statistics.ts';

const FULL = { sites: 1000, nodesPerSite: 10, accessPoints: 5000 };
const INSTANCES = 100_000;
const PER_WORKLOAD = 10;
const MiB = 2 ** 20;
/** Placements whose bindings share a commit. */
const COMMIT = 500;
const MEASURED = 20_000;
/** Above the linear exponent's half, below it all the same: what "more slowly than linearly" is held to. */
const MAX_EXPONENT = 0.7;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const memoryBytes = (): number => {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

function requests(accessPoints: number, besides: (accessPoint: number) => number, random: () => number) {
  return (turn: number): PlaceRequest => {
    const kind = random();
    const first = Math.floor(random() * accessPoints);
    return {
      key: `default/web-${turn}`,
      workload: `default/web-${Math.floor(turn / PER_WORKLOAD)}`,
      runtime: 'container',
      cpus: 0.25,
      memoryBytes: (64 + 64 * Math.floor(random() * 3)) * MiB,
      diskBytes: 100 * MiB,
      near:
        kind < 0.9
          ? [{ accessPoint: `ap-${first}` }]
          : [
              { accessPoint: `ap-${first}`, weight: 3 },
              { accessPoint: `ap-${besides(first)}`, weight: 1 },
            ],
      ...(kind < 0.15 && { maxLatencyMs: 10 }),
      ...(kind >= 0.15 && kind < 0.3 && { spread: 'site' as const }),
    };
  };
}

interface Stage {
  readonly perSecond: number;
  readonly durablePerSecond: number;
  readonly latenciesMs: readonly number[];
  readonly worldBytes: number;
  readonly refused: number;
}

/** Fills a world with `instances`, then places more, ending one of the old for each, so that it stays as full. */
async function stage(
  shape: Shape,
  size: typeof FULL,
  instances: number,
  measured: number,
  store?: Store,
): Promise<Stage> {
  const before = memoryBytes();
  const random = seeded(11);
  const world = edgeWorld(shape, size, random);
  const placer = createPlacer(world);
  const next = requests(size.accessPoints, world.besides, random);
  let refused = 0;
  const bind = (turn: number) => {
    const request = next(turn);
    const placement = placer.place(request);
    if (placement.outcome === 'refused') {
      refused++;
      return undefined;
    }
    world.fleet.take(request.key, placement.taking);
    return { key: request.key, node: placement.node };
  };
  for (let turn = 0; turn < instances; turn++) bind(turn);
  const worldBytes = memoryBytes() - before;
  refused = 0;
  const latenciesMs: number[] = [];
  const begunMs = performance.now();
  for (let turn = instances; turn < instances + measured; turn++) {
    const atMs = performance.now();
    world.fleet.give(`default/web-${turn - instances}`);
    bind(turn);
    latenciesMs.push(performance.now() - atMs);
  }
  const perSecond = (measured / (performance.now() - begunMs)) * 1000;
  let durablePerSecond = Number.NaN;
  if (store) {
    const durableMs = performance.now();
    for (let turn = instances + measured; turn < instances + 2 * measured; ) {
      const acknowledged: Promise<unknown>[] = [];
      for (let at = 0; at < COMMIT; at++, turn++) {
        const old = `default/web-${turn - instances}`;
        world.fleet.give(old);
        const bound = bind(turn);
        const ops = [
          { delete: `/bindings/${old}` },
          ...(bound ? [{ put: `/bindings/${bound.key}`, value: JSON.stringify(bound) }] : []),
        ];
        acknowledged.push(store.txn([], ops));
      }
      await Promise.all(acknowledged);
    }
    durablePerSecond = (measured / (performance.now() - durableMs)) * 1000;
  }
  return { perSecond, durablePerSecond, latenciesMs, worldBytes, refused };
}

export async function benchPlacement(): Promise<Finding> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const store = openSqliteStore({ path: join(folder, 'store.db') });
  try {
    // Compiled and warm before anything counts.
    await stage('random', { ...FULL, sites: 100, accessPoints: 500 }, 10_000, 5000, store);
    const shapes: { shape: Shape; result: Stage }[] = [];
    for (const shape of SHAPES)
      shapes.push({ shape, result: await stage(shape, FULL, INSTANCES, MEASURED, store) });
    const growth: { nodes: number; microseconds: number }[] = [];
    for (const sites of [125, 250, 500, 1000, 2000]) {
      const share = sites / FULL.sites;
      const { latenciesMs } = await stage(
        'city',
        { ...FULL, sites, accessPoints: Math.round(FULL.accessPoints * share) },
        INSTANCES * share,
        10_000,
      );
      growth.push({ nodes: sites * FULL.nodesPerSite, microseconds: median(latenciesMs) * 1000 });
    }
    const exponent =
      Math.log(growth.at(-1)!.microseconds / growth[0]!.microseconds) /
      Math.log(growth.at(-1)!.nodes / growth[0]!.nodes);
    const slowest = Math.min(...shapes.map(({ result }) => result.durablePerSecond));
    const p99 = Math.max(...shapes.map(({ result }) => percentile(result.latenciesMs, 0.99)));
    const tables: Table[] = [
      {
        title: '10,000 nodes, 1,000 sites, 5,000 access points, 100,000 instances',
        columns: ['', 'decided a second', 'durable a second', 'p50', 'p99', 'most', 'memory', 'refused'],
        rows: shapes.map(({ shape, result }) => [
          shape,
          digits(result.perSecond),
          digits(result.durablePerSecond),
          ...[
            median(result.latenciesMs),
            percentile(result.latenciesMs, 0.99),
            Math.max(...result.latenciesMs),
          ].map((value) => `${digits(value * 1000)} us`),
          `${digits(result.worldBytes / MiB)} MiB`,
          String(result.refused),
        ]),
      },
      {
        title: 'One placement by number of nodes (city, as full, p50)',
        columns: ['nodes', 'a placement', '|'],
        rows: growth.map(({ nodes, microseconds }) => [
          nodes.toLocaleString('en-US'),
          `${digits(microseconds)} us`,
          '#'.repeat(
            Math.max(1, Math.round((20 * microseconds) / Math.max(...growth.map((one) => one.microseconds)))),
          ),
        ]),
      },
    ];
    return {
      id: 'placement',
      title: 'Placement',
      verdicts: [
        {
          promise: '20,000 placements a second or more, durable binding included',
          measured: `${digits(slowest)} a second`,
          kept: slowest >= 20_000,
        },
        { promise: 'p99 of one placement under 1 ms', measured: `${digits(p99 * 1000)} us`, kept: p99 < 1 },
        {
          promise: 'cost of a near request grows more slowly than the number of nodes',
          measured: `by the power of ${digits(exponent)}`,
          kept: exponent < MAX_EXPONENT,
        },
      ],
      tables,
      notes: [
        'Nine in ten requests are near one access point, the others near two neighbours; 15 % have a bound of 10 ms, 15 % spread over sites. Before each placement one old instance is given back.',
        `Bindings: one transaction each (a put, and the delete of the old one), ${COMMIT} in flight, which the store commits together.`,
      ],
      samples: {
        growthMicroseconds: growth.map(({ microseconds }) => microseconds),
      },
    };
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
