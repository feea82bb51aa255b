import { describe, expect, it } from 'vitest';
import { createFleet } from '../fleet/fleet.ts';
import type { FleetNode } from '../fleet/node.ts';
import { createNames } from '../names.ts';
import { createTopology } from '../topology/topology.ts';
import { createPlacer } from './placer.ts';
import type { PlaceRequest } from './request.ts';

const MiB = 1024 ** 2;
const request: PlaceRequest = {
  key: 'default/web-1',
  workload: 'default/web',
  runtime: 'container',
  cpus: 1,
  memoryBytes: 128 * MiB,
  diskBytes: 0,
  near: [{ accessPoint: 'tower' }],
};

/** A tower, a full harbour 2 ms away, a data centre 20 ms away behind a slow link, and a hut that is cut off. */
function coast() {
  const sites = createNames();
  const topology = createTopology({ sites });
  const fleet = createFleet({ sites });
  for (const site of ['harbour', 'centre', 'hut']) topology.add('site', site);
  topology.add('access-point', 'tower');
  topology.add('router', 'exchange');
  topology.link('radio', { between: ['tower', 'harbour'], latencyMs: 2 });
  topology.link('ring', { between: ['harbour', 'exchange'], latencyMs: 3 });
  topology.link('backbone', { between: ['exchange', 'centre'], latencyMs: 15 });
  topology.link('path', { between: ['tower', 'hut'], latencyMs: 1, up: false });
  const node = (name: string, site: string, more: Partial<FleetNode> = {}) =>
    fleet.set({
      name,
      site,
      runtimes: { container: { overheadBytes: 0, accelerated: true } },
      lacks: { vm: '/dev/kvm is not there' },
      cpus: 4,
      memoryBytes: 512 * MiB,
      diskBytes: 0,
      ready: true,
      schedulable: true,
      ...more,
    });
  node('edge', 'harbour', { memoryBytes: 64 * MiB });
  node('rack', 'centre');
  node('box', 'hut');
  return { topology, fleet, node, placer: createPlacer({ topology, fleet }) };
}

describe('what is told', () => {
  it('names the best that could be had and what stands in the way when nobody meets the bound', () => {
    const { placer } = coast();
    const placement = placer.place({ ...request, maxLatencyMs: 5 });
    expect(placement).toMatchObject({
      outcome: 'refused',
      code: 'latency',
      best: { node: 'rack', site: 'centre', latencyMs: 20, accessPoint: 'tower' },
    });
    if (placement.outcome !== 'refused') return;
    expect(placement.text).toContain(
      "Within 5ms there would be: default/web-1 needs 128MiB of memory with its runtime's share, and edge has 64MiB free of 64MiB",
    );
    expect(placement.text).toContain(
      'The best that could be had is 20ms on rack, from tower; most of the way is the link backbone with 15ms',
    );
  });

  it('goes to the nearest that has room, and to what can not be reached only when nothing else is left', () => {
    const { placer, node } = coast();
    expect(placer.place(request)).toMatchObject({ node: 'rack', score: { latencyMs: 20 } });
    node('rack', 'centre', { ready: false });
    expect(placer.place(request)).toMatchObject({ node: 'box' });
    node('edge', 'harbour');
    expect(placer.place(request)).toMatchObject({ node: 'edge', score: { latencyMs: 2 } });
  });

  it('tells for each node every reason with its numbers, and why a runtime is missing', () => {
    const { placer } = coast();
    const { placement, nodes } = placer.explain({ ...request, runtime: 'vm', maxLatencyMs: 5 });
    expect(placement).toMatchObject({ outcome: 'refused', code: 'runtime' });
    expect(nodes.map(({ node, reasons }) => `${node}: ${reasons.map(({ code }) => code).join()}`)).toEqual([
      'box: runtime,latency',
      'edge: runtime,memory',
      'rack: runtime,latency',
    ]);
    const edge = nodes.find(({ node }) => node === 'edge')!;
    expect(edge.reasons[0]!.text).toBe('edge can not run guests of the runtime "vm": /dev/kvm is not there');
    expect(edge.reasons[1]!.numbers).toEqual({ needed: 128 * MiB, free: 64 * MiB });
    expect(nodes.find(({ node }) => node === 'rack')!.reasons[1]!.numbers).toEqual({
      latencyMs: 20,
      maxLatencyMs: 5,
    });
  });

  it('goes only where the networks are that its cards stand on, and names the one that is missing', () => {
    const { placer, node } = coast();
    node('rack', 'centre', { networks: ['plant', 'office'] });
    const carded = { ...request, networks: ['office'] };
    expect(placer.place(carded)).toMatchObject({ node: 'rack' });
    const { nodes } = placer.explain({ ...carded, networks: ['office', 'shore'] });
    expect(nodes.flatMap(({ reasons }) => reasons.filter(({ code }) => code === 'network'))).toEqual([
      expect.objectContaining({ text: 'box has no network "office"', numbers: { network: 'office' } }),
      expect.objectContaining({ text: 'edge has no network "office"' }),
      expect.objectContaining({ text: 'rack has no network "shore"' }),
    ]);
  });

  it('keeps apart what wants to be apart, in both directions, and together what wants to be together', () => {
    const { placer, fleet, node } = coast();
    node('edge', 'harbour');
    const alone = { ...request, antiAffinity: [{ group: 'default/noise', at: 'site' as const }] };
    const first = placer.place(alone);
    if (first.outcome !== 'placed') throw new Error(first.text);
    fleet.take(alone.key, first.taking);
    expect(first.node).toBe('edge');
    const noise = { ...request, key: 'default/noise-1', workload: 'default/noise' };
    expect(placer.place(noise)).toMatchObject({ node: 'rack' });
    const follower = {
      ...request,
      key: 'default/log-1',
      workload: 'default/log',
      near: [{ accessPoint: 'tower' }],
      affinity: [{ group: 'default/web', at: 'node' as const }],
    };
    expect(placer.place(follower)).toMatchObject({ node: 'edge' });
    expect(placer.place({ ...follower, affinity: [{ group: 'default/nobody', at: 'site' }] })).toMatchObject({
      outcome: 'refused',
      code: 'affinity',
    });
    const pair = {
      ...follower,
      workload: 'default/pair',
      affinity: [{ group: 'default/pair', at: 'site' as const }],
    };
    expect(placer.place(pair)).toMatchObject({ outcome: 'placed', node: 'edge' });
  });

  it('ends the cheapest of a lower priority, on the node where that costs least', () => {
    const { placer, fleet, node } = coast();
    node('edge', 'harbour', { memoryBytes: 256 * MiB });
    node('rack', 'centre', { memoryBytes: 128 * MiB });
    const put = (key: string, at: string, priority: number) =>
      fleet.take(key, { node: at, cpus: 1, memoryBytes: 128 * MiB, diskBytes: 0, priority });
    put('a', 'edge', 5);
    put('b', 'edge', 2);
    put('c', 'rack', 1);
    fleet.remove('box');
    expect(placer.place({ ...request, priority: 3 }).outcome).toBe('refused');
    expect(placer.place({ ...request, priority: 3, preempt: true })).toMatchObject({
      node: 'rack',
      ends: [{ key: 'c', priority: 1 }],
    });
    expect(placer.place({ ...request, priority: 3, preempt: true, maxLatencyMs: 5 })).toMatchObject({
      node: 'edge',
      ends: [{ key: 'b', priority: 2 }],
    });
    expect(placer.place({ ...request, priority: 1, preempt: true }).outcome).toBe('refused');
  });
});
