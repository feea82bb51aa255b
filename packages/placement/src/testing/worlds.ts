/** Small random worlds and requests for property tests. */
import fc from 'fast-check';
import { createFleet } from '../fleet/fleet.ts';
import type { FleetNode } from '../fleet/node.ts';
import { createNames } from '../names.ts';
import type { World } from '../place/context.ts';
import type { PlaceRequest } from '../place/request.ts';
import { createTopology } from '../topology/topology.ts';

export const MiB = 1024 ** 2;
export const SITES = 6;
export const ACCESS_POINTS = 5;
const WORKLOADS = ['default/web', 'default/db', 'default/cache'];

/** Few different ones, so that sites are often equally near. */
const latency = fc.constantFrom(0, 1, 1, 2, 2, 4, 9);
const siteNumber = fc.nat({ max: SITES - 1 });
const group = fc.constantFrom(...WORKLOADS, 'default/app=a');
const term = fc.record({ group, at: fc.constantFrom('site' as const, 'node' as const) });
/** There in `present` of five. */
const maybe = <T>(value: fc.Arbitrary<T>, present = 3) =>
  fc.oneof({ weight: present, arbitrary: value }, { weight: 5 - present, arbitrary: fc.constant(undefined) });

const node = fc.record({
  site: siteNumber,
  cpus: fc.constantFrom(1, 2, 8),
  memoryBytes: fc.constantFrom(256 * MiB, 512 * MiB, 1024 * MiB),
  reservedBytes: fc.constantFrom(0, 64 * MiB),
  diskBytes: fc.constantFrom(300 * MiB, 1024 * MiB, 4096 * MiB),
  addresses: fc.constantFrom(1, 4, 100),
  ready: fc.constantFrom(true, true, true, true, true, true, false),
  schedulable: fc.constantFrom(true, true, true, true, true, true, false),
  labels: fc.constantFrom({}, { arch: 'arm64' }, { arch: 'x86_64', zone: 'a' }),
  taints: fc.constantFrom([], [], [], [], [{ key: 'gpu' }], [{ key: 'team', value: 'red' }]),
  runtimes: fc.constantFrom<FleetNode['runtimes']>(
    { container: { overheadBytes: 0, accelerated: true } },
    {
      container: { overheadBytes: 8 * MiB, accelerated: true },
      vm: { overheadBytes: 64 * MiB, accelerated: true },
    },
    {
      container: { overheadBytes: 0, accelerated: true },
      vm: { overheadBytes: 100 * MiB, accelerated: false },
    },
  ),
});

export const request: fc.Arbitrary<PlaceRequest> = fc
  .record({
    key: fc.nat({ max: 30 }).map((n) => `i${n}`),
    workload: fc.constantFrom(...WORKLOADS),
    runtime: fc.constantFrom('container' as const, 'container' as const, 'vm' as const),
    accelerated: maybe(fc.boolean()),
    cpus: fc.constantFrom(0.1, 0.5, 2),
    memoryBytes: fc.constantFrom(16 * MiB, 64 * MiB, 128 * MiB),
    diskBytes: fc.constantFrom(0, 100 * MiB),
    ports: maybe(fc.constantFrom(['tcp/80'], ['tcp/443', 'udp/53']), 1),
    groups: maybe(fc.constant(['default/app=a']), 1),
    near: maybe(
      fc.array(
        fc.record({
          accessPoint: fc.nat({ max: ACCESS_POINTS - 1 }).map((n) => `ap${n}`),
          weight: fc.constantFrom(0, 1, 1, 2.5, 7),
        }),
        { maxLength: 4 },
      ),
    ),
    maxLatencyMs: maybe(fc.integer({ min: 0, max: 25 }), 1),
    spread: maybe(fc.constantFrom('site' as const, 'node' as const), 1),
    nodeSelector: maybe(fc.constantFrom({ arch: 'arm64' }, { zone: 'a' }), 1),
    atSites: maybe(
      fc.array(
        siteNumber.map((n) => `s${n}`),
        { minLength: 1, maxLength: 4 },
      ),
      1,
    ),
    affinity: maybe(fc.array(term, { maxLength: 2 }), 1),
    antiAffinity: maybe(fc.array(term, { maxLength: 2 }), 1),
    tolerations: maybe(
      fc.constantFrom([{ key: 'gpu' }], [{ key: 'team' }], [{ key: 'team', value: 'blue' }]),
      1,
    ),
    priority: maybe(fc.integer({ min: -1, max: 3 })),
    preempt: maybe(fc.boolean()),
  })
  .map(
    (value) =>
      Object.fromEntries(
        Object.entries(value).filter(([, one]) => one !== undefined),
      ) as unknown as PlaceRequest,
  );

export interface WorldPlan {
  readonly nodes: readonly (Omit<FleetNode, 'name' | 'site'> & { readonly site: number })[];
  readonly links: readonly {
    readonly a: number;
    readonly b: number;
    readonly latencyMs: number;
    readonly up: boolean;
  }[];
  readonly measured: readonly { readonly ap: number; readonly site: number; readonly rttMs: number }[];
}

export const worldPlan: fc.Arbitrary<WorldPlan> = fc.record({
  nodes: fc.array(node, { maxLength: 14 }),
  links: fc.array(
    fc.record({
      a: fc.nat({ max: SITES + ACCESS_POINTS }),
      b: fc.nat({ max: SITES + ACCESS_POINTS }),
      latencyMs: latency,
      up: fc.constantFrom(true, true, true, false),
    }),
    { maxLength: 24 },
  ),
  measured: fc.array(
    fc.record({
      ap: fc.nat({ max: ACCESS_POINTS - 1 }),
      site: siteNumber,
      rttMs: fc.integer({ min: 0, max: 40 }),
    }),
    { maxLength: 4 },
  ),
});

/** Vertex names: sites, access points, one router. */
export const vertexName = (n: number): string =>
  n < SITES ? `s${n}` : n < SITES + ACCESS_POINTS ? `ap${n - SITES}` : 'middle';

export function build(plan: WorldPlan): World {
  const sites = createNames();
  const topology = createTopology({ sites });
  const fleet = createFleet({ sites });
  for (let n = 0; n < SITES; n++) topology.add('site', vertexName(n));
  for (let n = 0; n < ACCESS_POINTS; n++) topology.add('access-point', `ap${n}`);
  topology.add('router', 'middle');
  plan.links.forEach(({ a, b, latencyMs, up }, at) => {
    if (a !== b) topology.link(`l${at}`, { between: [vertexName(a), vertexName(b)], latencyMs, up });
  });
  for (const { ap, site, rttMs } of plan.measured) topology.measured(`ap${ap}`, `s${site}`, rttMs, 0);
  plan.nodes.forEach(({ site, ...rest }, at) => {
    fleet.set({ ...rest, name: `n${at}`, site: `s${site}` });
  });
  return { topology, fleet };
}
