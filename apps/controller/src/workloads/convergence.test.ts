// Whatever was asked in whatever order, all comes to rest at what was asked last, and no two guests share anything.
import { defaultMemoryBytes, SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';
const NAMES = ['a', 'b', 'c'];
let harness: Harness;
beforeAll(async () => {
  harness = await startHarness({ node: { memoryMiB: 1024, subnet: '10.92.0.0/27' } });
});
afterAll(async () => {
  const { errors } = harness;
  await harness.close();
  expect(errors).toEqual([]);
});

type Act =
  | { do: 'put' | 'apply'; name: string; replicas: number; version: string; publish: number }
  | { do: 'scale'; name: string; replicas: number }
  | { do: 'delete' | 'stop' | 'start' | 'restart'; name: string };

const name = fc.constantFrom(...NAMES);
const replicas = fc.integer({ min: 0, max: 8 });
const act: fc.Arbitrary<Act> = fc.oneof(
  fc.record({
    do: fc.constantFrom('put' as const, 'apply' as const),
    name,
    replicas,
    version: fc.constantFrom('1', '2', '3'),
    publish: fc.constantFrom(0, 8080),
  }),
  fc.record({ do: fc.constant('scale' as const), name, replicas }),
  fc.record({
    do: fc.constantFrom('delete' as const, 'stop' as const, 'start' as const, 'restart' as const),
    name,
  }),
);
/** Refusals that a person may meet; anything else is a fault. */
const FAIR = [
  'not_found',
  'phase_forbids',
  'quota_exceeded',
  'address_exhausted',
  'port_taken',
  'manifest_invalid',
];

async function perform(one: Act): Promise<void> {
  const { client } = harness;
  if (one.do === 'put' || one.do === 'apply') {
    const ports = one.publish ? { ports: [{ name: 'http', port: 80, publish: one.publish }] } : {};
    const body = workload(one.name, { replicas: one.replicas, env: { V: one.version }, ...ports });
    if (one.do === 'put') await client.workload.put({ project, name: one.name, body });
    else await client.apply({ body: JSON.stringify(body) });
  } else if (one.do === 'scale') {
    await client.workload.patch({ project, name: one.name, body: { spec: { replicas: one.replicas } } });
  } else await client.workload[one.do]({ project, name: one.name });
}

async function atRest(): Promise<boolean> {
  const { items: workloads } = await harness.client.workload.list({ project });
  const { items: instances } = await harness.client.instance.list({ project });
  for (const { metadata, spec, control, status } of workloads) {
    if (metadata.deletedAt) return false;
    const own = instances.filter((one) => one.spec.workload === metadata.name);
    if (own.length !== (spec.replicas ?? 1) || own.some((one) => one.metadata.deletedAt)) return false;
    if (own.some((one) => one.spec.template.env?.V !== spec.env?.V || one.spec.restarts !== control.restarts))
      return false;
    if (own.some((one) => one.status.phase !== control.run)) return false;
    if (status.replicas !== own.length || status.observedGeneration !== metadata.generation) return false;
    if (status.ready !== (control.run === 'running' ? own.length : 0)) return false;
  }
  const named = new Set(workloads.map(({ metadata }) => metadata.name));
  return instances.every((one) => named.has(one.spec.workload));
}

test('random sequences of put, apply, patch, verbs and delete converge, in turn or all at once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 25 }), fc.boolean(), async (acts, atOnce) => {
      const fair = (error: unknown) => {
        if (!(error instanceof SkerryError) || !FAIR.includes(error.code)) throw error;
      };
      if (atOnce) await Promise.all(acts.map((one) => perform(one).catch(fair)));
      else for (const one of acts) await perform(one).catch(fair);
      await eventually(atRest, (rest) => rest);

      const { items } = await harness.client.instance.list({ project });
      const addresses = items.map(({ spec }) => spec.network!.address);
      expect(new Set(addresses).size).toBe(addresses.length);
      const published = items.filter(({ spec }) => spec.template.ports?.some(({ publish }) => publish));
      expect(published.length).toBeLessThanOrEqual(1);
      const { allocated } = (await harness.client.node.show({ name: 'local' })).status;
      expect(allocated).toEqual({
        cpus: items.length,
        memoryBytes: items.length * defaultMemoryBytes('sim'),
        instances: items.length,
      });
    }),
    { numRuns: 40 },
  );
}, 120_000);
