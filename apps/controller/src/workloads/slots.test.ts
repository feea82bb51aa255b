import type { Instance, SiteReplicas, Workload } from '@skerry/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { siteSlots } from './slots.ts';

const SITES = ['a', 'b', 'c', 'd'];
const KEEP_MS = 60_000;
const instance = (ordinal: number, serves: boolean, deleted = false) =>
  ({
    metadata: { generation: 1, ...(deleted && { deletedAt: 'then' }) },
    spec: { ordinal, node: 'node', run: 'running' },
    status: { phase: serves ? 'running' : 'starting', observedGeneration: 1 },
  }) as unknown as Instance;
const workload = (sites: readonly SiteReplicas[]) =>
  ({ status: { sites }, control: { run: 'running' } }) as unknown as Workload;

/** At each moment: who is wanted where, whether clients have no site, how long it is, which of the instances serve. */
const moment = fc.record({
  sites: fc.subarray(SITES),
  unserved: fc.boolean(),
  laterMs: fc.integer({ min: 0, max: 2 * KEEP_MS }),
  well: fc.func(fc.boolean()),
  perSite: fc.integer({ min: 1, max: 3 }),
});

test('whatever clients do: each wanted site has its instances under the same numbers, none is shared, and none goes before its time or before another serves', () => {
  fc.assert(
    fc.property(fc.array(moment, { maxLength: 20 }), (moments) => {
      let sites: readonly SiteReplicas[] = [];
      let instances: Instance[] = [];
      let nowMs = 0;
      for (const { sites: wanted, unserved, laterMs, well, perSite } of moments) {
        nowMs += laterMs;
        const demand = { sites: wanted, unserved: unserved ? ['tower'] : [] };
        const request = {
          ...{ workload: workload(sites), instances, demand, siteOf: () => undefined },
          ...{ perSite: { perSite }, now: new Date(nowMs).toISOString() },
        };
        const slots = siteSlots(request);
        expect(siteSlots({ ...request, workload: workload(slots.sites!) })).toEqual(slots);
        const all = slots.sites!.flatMap(({ ordinals }) => ordinals);
        expect(new Set(all).size).toBe(all.length);
        expect(new Set([...slots.lasting.keys(), ...slots.kept])).toEqual(new Set(all));
        for (const site of wanted) {
          const own = [...slots.lasting].filter(([, of]) => of === site).map(([ordinal]) => ordinal);
          expect(own).toHaveLength(perSite);
          const before = sites.find((one) => one.site === site)?.ordinals ?? [];
          expect(own).toEqual(expect.arrayContaining(before.slice(0, perSite)));
        }
        const serving = (ordinal: number) =>
          instances.some(({ spec, status }) => spec.ordinal === ordinal && status.phase === 'running');
        const isCovered = !unserved && [...slots.lasting.keys()].every(serving);
        for (const { site, unwantedSince, ordinals } of sites) {
          if (wanted.includes(site) || slots.sites!.some((one) => one.site === site)) continue;
          expect(ordinals.length === 0 || isCovered).toBe(true);
          expect(nowMs - Date.parse(unwantedSince!)).toBeGreaterThanOrEqual(KEEP_MS);
        }
        sites = slots.sites!;
        instances = all.map((ordinal) => instance(ordinal, well(ordinal, nowMs)));
      }
    }),
    { numRuns: 300 },
  );
});

test('the number of an instance that is still being removed is given to no other', () => {
  const request = {
    ...{ workload: workload([]), instances: [instance(0, false, true)], siteOf: () => undefined },
    ...{ perSite: { perSite: 2 }, now: new Date(0).toISOString() },
  };
  const { lasting } = siteSlots({ ...request, demand: { sites: ['a'], unserved: [] } });
  expect([...lasting.keys()]).toEqual([1, 2]);
});

test('time that was set back keeps what nobody wants for no longer than it would have been kept', () => {
  const left = { site: 'a', wanted: 0, ready: 1, ordinals: [0], unwantedSince: new Date(9e9).toISOString() };
  const { lookInMs } = siteSlots({
    ...{ workload: workload([left]), instances: [instance(0, true)], siteOf: () => undefined },
    ...{ perSite: { perSite: 1 }, now: new Date(0).toISOString(), demand: { sites: [], unserved: [] } },
  });
  expect(lookInMs).toBe(KEEP_MS);
});
