import type { DesiredInstance, ServiceEndpoint, ServiceRoute } from '@skerry/contract';
import { type Id, newId } from '@skerry/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Knowledge, serviceName, servicesOf, tiersOf } from './backends.ts';

type Uid = Id<'instance'>;
const workload = newId<'workload'>();
const uid = (text: string) => text as Uid;
const endpoint = (name: string, node: string, latencyUs: number, healthy = true): ServiceEndpoint => ({
  uid: uid(name),
  ...{ node, address: `10.64.0.${name.length + 1}`, latencyUs, healthy },
});
const route = (...endpoints: ServiceEndpoint[]): ServiceRoute => ({
  ...{ uid: workload, project: 'default', name: 'web', address: '10.190.0.1', ports: [], endpoints },
});
const running = { phase: 'running', health: 'healthy' } as const;
const knowing = (more: Partial<Knowledge> = {}): Knowledge => ({
  ...{ node: 'here', instances: [], status: () => running, reachable: () => true },
  ...more,
});
const backends = (one: ServiceRoute, knowledge: Knowledge) => servicesOf([one], knowledge)[0]!.backends;

describe('who receives', () => {
  it('is one that is here before all others, then the nearest', () => {
    const found = backends(
      route(endpoint('near', 'a', 900), endpoint('own', 'here', 0), endpoint('far', 'b', 90_000)),
      knowing(),
    );
    const tierOf = (name: string) => found.find((one) => one.uid === name)!.tier;
    expect(tierOf('own')).toBe(0);
    expect(tierOf('near')).toBe(1);
    expect(tierOf('far')).toBe(2);
  });

  it('is nobody of whom the node knows that it is not well, whatever the controller says', () => {
    const [own] = backends(
      route(endpoint('own', 'here', 0)),
      knowing({ status: () => ({ ...running, health: 'unhealthy' }) }),
    );
    expect(own).toMatchObject({ open: false });
    const [well] = backends(route(endpoint('own', 'here', 0, false)), knowing());
    expect(well).toMatchObject({ open: true });
  });

  it('is nobody who does not run: such a one has not even connections to keep', () => {
    for (const phase of ['starting', 'backoff', 'stopped', 'failed'] as const) {
      const status = () => ({ ...running, phase });
      expect(backends(route(endpoint('own', 'here', 0)), knowing({ status }))).toEqual([]);
    }
    expect(backends(route(endpoint('own', 'here', 0)), knowing({ status: () => undefined }))).toEqual([]);
    const [leaving] = backends(
      route(endpoint('own', 'here', 0)),
      knowing({ status: () => ({ ...running, phase: 'stopping' }) }),
    );
    expect(leaving).toMatchObject({ open: false });
  });

  it('is one of which the controller has lost sight, where its node is seen from here, after all others', () => {
    const lost = { ...endpoint('lost', 'near', 900, false), lost: true as const };
    const far = endpoint('other', 'far', 90_000);
    const seen = knowing({ oneWayUs: () => 900 });
    const [first, second] = backends(route(lost, far), seen);
    expect([first!.open, second!.open]).toEqual([true, true]);
    expect(first!.tier).toBeGreaterThan(second!.tier);
    expect(backends(route(lost), knowing())).toMatchObject([{ open: false }]); // nobody measured
    expect(backends(route(lost), { ...seen, reachable: () => false })).toMatchObject([{ open: false }]);
  });

  it('is an instance of the workload that runs here before the controller has heard of it', () => {
    const spec = { workloadUid: workload, network: { address: '10.64.0.9' } };
    const instances = [{ uid: uid('new'), spec, deleted: false } as unknown as DesiredInstance];
    expect(backends(route(), knowing({ instances }))).toMatchObject([
      { uid: 'new', address: '10.64.0.9', tier: 0, open: true },
    ]);
    const leaving = instances.map((one) => ({ ...one, deleted: true }));
    expect(backends(route(), knowing({ instances: leaving }))).toMatchObject([{ open: false }]);
  });

  it('has the address of IPv6 that it was given, where the service and the node have any', () => {
    const network = { address: '10.64.0.9', address6: 'fd01:2:3:4::9' };
    const instances = [
      {
        uid: uid('new'),
        spec: { workloadUid: workload, network },
        deleted: false,
      } as unknown as DesiredInstance,
    ];
    const both = { ...route({ ...endpoint('far', 'a', 900), address6: 'fd05::2' }), address6: 'fd00::7' };
    expect(servicesOf([both], knowing({ instances }))).toMatchObject([
      { address6: 'fd00::7', backends: [network, { address6: 'fd05::2' }] },
    ]);
    const [without] = backends(both, knowing({ instances, ipv6: false }));
    expect(without).not.toHaveProperty('address6');
    expect(backends(route(), knowing({ instances }))[0]).not.toHaveProperty('address6');
  });

  it('is nobody on a node that does not answer, but connections to it are kept', () => {
    const reachable = (node: string) => node !== 'a';
    const found = backends(route(endpoint('x', 'a', 10), endpoint('yy', 'b', 20)), knowing({ reachable }));
    expect(found.map(({ open }) => open)).toEqual([false, true]);
  });

  it('goes by tiers in which all are nearly as near as the nearest, and whose order is that of the latency', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1_000_000 }), { maxLength: 30 }), (latencies) => {
        const tiers = tiersOf(latencies);
        const sorted = [...tiers.keys()].sort((a, b) => a - b);
        for (const [index, us] of sorted.entries()) {
          const tier = tiers.get(us)!;
          const nearest = Math.min(...sorted.filter((other) => tiers.get(other) === tier));
          expect(us - nearest).toBeLessThanOrEqual(Math.max(500, nearest * 0.1));
          if (index > 0) expect(tier).toBeGreaterThanOrEqual(tiers.get(sorted[index - 1]!)!);
        }
      }),
    );
    expect([...tiersOf([400, 100, 20_000, 21_000, 30_000]).values()]).toEqual([1, 1, 2, 2, 3]);
  });

  it('is found by the name of workload and project', () => {
    expect(serviceName({ name: 'web', project: 'default' })).toBe('web.default.edge');
  });
});
