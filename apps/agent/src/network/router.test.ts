import type { DesiredNetwork } from '@skerry/contract';
import { newId, SkerryError } from '@skerry/model';
import { describe, expect, it } from 'vitest';
import { Bench, type BootOptions } from '../testing/bench.ts';

const WORKLOAD = newId<'workload'>();
const PEER = { node: 'other', address: '192.0.2.2', subnet: '10.64.4.0/22' };

/** One instance here and one on another node. */
async function withService(options: BootOptions = {}, more: Partial<DesiredNetwork> = {}) {
  const bench = new Bench();
  const health = { http: { port: 80 }, interval: '2s', timeout: '1s', failures: 100 };
  const own = bench.controller.add('web', { template: { health } });
  const { address } = bench.controller.instances.get(own)!.spec.network!;
  const far = newId<'instance'>();
  const network: DesiredNetwork = {
    peers: [PEER],
    services: [
      {
        ...{ uid: WORKLOAD, project: 'default', name: 'web', address: '10.190.0.1' },
        ports: [{ name: 'web', port: 80, protocol: 'tcp', targetPort: 80 }],
        endpoints: [
          { uid: own, node: 'node', address, latencyUs: 0, healthy: true },
          { uid: far, node: 'other', address: '10.64.4.2', latencyUs: 900, healthy: true },
        ],
      },
    ],
  };
  bench.controller.network = { ...network, ...more };
  const open = () => bench.world.services[0]?.backends.filter((one) => one.open).map(({ uid }) => uid) ?? [];
  bench.boot(options);
  await bench.until(() => open().includes(own), 'the instance receives');
  return { bench, own, far, open };
}

const NOBODY = { here: [], moved: [], othersMayCome: false };

describe('leading packets', () => {
  it('begins when an instance is ready, with the peers and the names that it needs', async () => {
    const { bench, own, far, open } = await withService();
    expect(open()).toEqual([own, far]);
    expect(bench.world.peers).toEqual([PEER]);
    expect(bench.world.services[0]).toMatchObject({ names: ['web.default.edge'], address: '10.190.0.1' });
  });

  it('passes over an instance within 3 s of its last answer, without a controller, and comes back to it', async () => {
    let answers = true;
    const healthProbe = async () =>
      answers ? ({ ok: true } as const) : { ok: false as const, message: 'x' };
    const { bench, own, far, open } = await withService({ tuning: { healthProbe } });
    bench.controller.cutOff();
    answers = false;
    const from = bench.world.clock.monotonicMs();
    await bench.until(() => !open().includes(own), 'it receives nothing new');
    expect(bench.world.clock.monotonicMs() - from).toBeLessThan(3000);
    expect(open()).toEqual([far]);
    expect(bench.world.services[0]!.backends.map(({ uid }) => uid)).toContain(own); // what it has, it keeps
    answers = true;
    await bench.until(() => open().includes(own), 'it receives again');
  });

  it('forgets an instance at once whose guest has ended', async () => {
    const { bench, own, open } = await withService();
    bench.controller.cutOff();
    const from = bench.world.clock.monotonicMs();
    bench.world.exit(own, 'error');
    await bench.until(() => !open().includes(own), 'it receives nothing');
    expect(bench.world.clock.monotonicMs() - from).toBeLessThan(100);
    await bench.until(() => open().includes(own), 'it runs again and receives');
  });

  it('goes on from the ledger after a power cut, with no controller', async () => {
    const { bench, own, far, open } = await withService();
    bench.world.powerCut();
    bench.world.services = [];
    bench.world.peers = [];
    bench.boot({ connected: false });
    await bench.until(() => open().includes(own), 'it receives again');
    expect(open()).toEqual([own, far]);
    expect(bench.world.peers).toEqual([PEER]);
  });

  it('passes over nodes that do not answer as soon as it is told', async () => {
    const away = new Set<string>();
    const moved = [{ address: '192.0.2.7', next: 'other' }];
    const { bench, own, far, open } = await withService(
      { reachable: (node) => !away.has(node) },
      { moved, expectsClients: true },
    );
    expect(bench.world.clientPaths).toEqual({ ...NOBODY, moved, othersMayCome: true, neighbours: ['other'] });
    away.add('other');
    bench.agent!.reachabilityChanged();
    await bench.until(() => !open().includes(far), 'the far one receives nothing');
    expect(open()).toEqual([own]);
    // nor is sent on there what its clients began
    await bench.until(() => bench.world.clientPaths?.moved[0]?.next === undefined, 'nothing is sent on');
  });

  it('is tried again where the host refused it', async () => {
    const { bench, own, open } = await withService();
    const { network } = bench.controller.state;
    bench.world.routingDown = new SkerryError('host_command_failed', 'nft is not there');
    bench.controller.network = {
      peers: [],
      services: network!.services.map((one) => ({ ...one, name: 'new' })),
    };
    const names = () => bench.world.services[0]!.names;
    await bench.until(
      () => bench.controller.observedGeneration === bench.controller.state.generation,
      'it is taken',
    );
    expect([names(), open().includes(own)]).toEqual([['web.default.edge'], true]); // as it was
    const findings = () => bench.controller.registered!.status.findings;
    await bench.until(
      () => findings().some(({ name }) => name === 'network.services'),
      'the node tells of it',
    );
    bench.world.routingDown = undefined;
    await bench.until(() => names()[0] === 'new.default.edge', 'it is as it should be');
    expect(bench.world.peers).toEqual([]);
    await bench.until(() => findings().every(({ ok }) => ok), 'the node tells that it is over');
  });
});
