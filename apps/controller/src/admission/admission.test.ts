import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startFakeNode } from '../testing/fake-node.ts';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';
import { address6For, addressOf, freeSlot, macOf, parseSubnet } from './addresses.ts';
import { MIB } from './claim.ts';
import { createLedger } from './ledger.ts';

const project = 'default';

describe('addresses', () => {
  test('the first is the gateway, guests have 2 up to the one before the broadcast address', () => {
    const subnet = parseSubnet('192.168.7.77/29');
    expect(addressOf(subnet, 2)).toBe('192.168.7.74');
    expect(macOf(subnet, 2)).toBe('02:53:c0:a8:07:4a');
    const taken = new Map<number, string>();
    for (let slot = freeSlot(subnet, taken); slot !== undefined; slot = freeSlot(subnet, taken))
      taken.set(slot, 'x');
    expect([...taken.keys()]).toEqual([2, 3, 4, 5, 6]);
  });
  test('beside the one of IPv4 there is one of IPv6 with the same number, for guests that take it', () => {
    const given = (spec: object, cidr?: string) =>
      address6For(cidr, spec as Parameters<typeof address6For>[1], 7);
    const cidr = 'fd01:2:3:4::/64';
    for (const runtime of ['container', 'system', 'vm'])
      expect(given({ runtime }, cidr)).toEqual({ address6: 'fd01:2:3:4::7' });
    const vm = { runtime: 'vm' };
    for (const spec of [
      { runtime: 'unikernel' },
      { ...vm, address: 'dhcp' },
      { ...vm, vm: { cloudInit: { networkConfig: 'version: 2' } } },
    ])
      expect(given(spec, cidr)).toEqual({});
    expect(given({ runtime: 'container' })).toEqual({}); // the node has none
  });
  test.each(['10.0.0.0', '10.0.0.256/24', '10.0.0.0/31', '::1/64'])('no network: %s', (cidr) => {
    expect(() => parseSubnet(cidr)).toThrow(/no IPv4 network/);
  });
});

test('a ledger ends at zero whatever came and went', () => {
  const claim = fc.record({
    project: fc.constantFrom('a', 'b'),
    workload: fc.constant('w'),
    node: fc.constantFrom('n', 'm', undefined),
    slot: fc.option(fc.integer({ min: 2, max: 9 }), { nil: undefined }),
    instances: fc.constantFrom(0, 1),
    cpus: fc.integer({ min: 1, max: 4000 }).map((n) => n / 1000),
    memoryBytes: fc.nat(1e12),
    diskBytes: fc.nat(1e12),
    ports: fc.uniqueArray(fc.constantFrom('tcp/80', 'udp/53')),
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z'), fc.option(claim, { nil: undefined }))),
      (changes) => {
        const ledger = createLedger();
        for (const [key, one] of changes) ledger.set(key, one);
        for (const key of ['x', 'y', 'z']) ledger.set(key, undefined);
        for (const name of ['n', 'm']) {
          expect(ledger.node(name)).toEqual({
            cpus: 0,
            memoryBytes: 0,
            diskBytes: 0,
            instances: 0,
            slots: new Map(),
            ports: new Map(),
          });
        }
        expect(ledger.project('a')).toEqual({ cpus: 0, memoryBytes: 0, diskBytes: 0, instances: 0 });
      },
    ),
  );
});

describe('what does not fit is refused with the numbers', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness({
      node: { memoryMiB: 1024, cpus: 2, subnet: '10.91.0.0/28', overheadBytes: { sim: 10 * MIB } },
    });
  });
  afterEach(async () => {
    const { errors } = harness;
    await harness.close();
    expect(errors).toEqual([]);
  });
  const put = (name: string, spec: object = {}) =>
    harness.client.workload.put({ project, name, body: workload(name, spec) });

  test('memory counts the overhead of the runtime and the reserve of the system', async () => {
    // 1024 - 192 reserved = 832 MiB; each takes 94 + 10.
    await put('a', { replicas: 8, resources: { memory: '94MiB' } });
    await expect(put('b', { resources: { memory: '1MiB' } })).rejects.toMatchObject({
      code: 'quota_exceeded',
      details: { resource: 'memory', needed: 11 * MIB, free: 0, node: 'local' },
    });
    // Growing what is there is refused as well, and leaves it as it is.
    await expect(put('a', { replicas: 8, resources: { memory: '95MiB' } })).rejects.toMatchObject({
      code: 'quota_exceeded',
    });
    expect((await harness.client.workload.show({ project, name: 'a' })).metadata.generation).toBe(1);
    await put('a', { replicas: 8, resources: { memory: '30MiB' } });
    await eventually(
      () => harness.client.node.show({ name: 'local' }),
      ({ status }) => status.allocated.memoryBytes === 8 * 40 * MIB,
    );
    await put('b', { resources: { memory: '200MiB' } });
  });

  test('processors are promised sixteen times, one guest never gets more than there are', async () => {
    await expect(put('a', { resources: { cpus: 2.5, memory: '1MiB' } })).rejects.toMatchObject({
      code: 'quota_exceeded',
      details: { resource: 'cpus' },
    });
    await put('a', { replicas: 12, resources: { cpus: 2, memory: '1MiB' } });
    await put('b', { resources: { cpus: 1, memory: '1MiB' } });
    expect((await harness.client.node.show({ name: 'local' })).status.allocated.cpus).toBe(25);
  });

  test('a subnet without a free address', async () => {
    await put('a', { replicas: 13, resources: { memory: '1MiB' } });
    await expect(put('b', { resources: { memory: '1MiB' } })).rejects.toMatchObject({
      code: 'address_exhausted',
      details: { subnet: '10.91.0.0/28' },
    });
  });

  test('a published port belongs to one workload, and the error names it', async () => {
    await put('a', { ports: [{ name: 'http', port: 80, publish: 8080 }] });
    await expect(put('b', { ports: [{ name: 'web', port: 81, publish: 8080 }] })).rejects.toMatchObject({
      code: 'port_taken',
      details: { port: 'tcp/8080', by: 'instance a-0' },
    });
    await put('c', { ports: [{ name: 'dns', port: 53, publish: 8080, protocol: 'udp' }] });
    await put('d');
    await expect(put('d', { ports: [{ name: 'web', port: 81, publish: 8080 }] })).rejects.toMatchObject({
      code: 'port_taken',
    });
    // Requests at the same moment: one gets it.
    const answers = await Promise.allSettled(
      ['e', 'f', 'g'].map((name) => put(name, { ports: [{ name: 'x', port: 1, publish: 9000 }] })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
    await harness.client.workload.delete({ project, name: 'a' });
    await eventually(
      () => put('b', { ports: [{ name: 'web', port: 81, publish: 8080 }] }).catch(() => undefined),
      (made) => made !== undefined,
    );
  });

  test('the quota of a project, which can still be made smaller when it is over', async () => {
    const quota = (instances: number) =>
      harness.client.project.put({
        project: 'shop',
        body: {
          apiVersion: 'skerry/v1',
          kind: 'Project',
          metadata: { name: 'shop' },
          spec: { quota: { instances, memory: '600MiB', cpus: 5 } },
        },
      });
    const inShop = (replicas: number, resources: object = {}) =>
      harness.client.workload.put({
        project: 'shop',
        name: 'a',
        body: workload('a', { replicas, resources: { memory: '20MiB', ...resources } }),
      });
    await quota(4);
    await inShop(4);
    await expect(inShop(5)).rejects.toMatchObject({
      code: 'quota_exceeded',
      details: { what: 'instances', would: 5, allowed: 4 },
    });
    await expect(inShop(4, { cpus: 2 })).rejects.toMatchObject({
      code: 'quota_exceeded',
      details: { what: 'cpus', would: 8, allowed: 5 },
    });
    await expect(inShop(4, { memory: '150MiB' })).rejects.toMatchObject({
      code: 'quota_exceeded',
      details: { what: 'of memory' },
    });
    await quota(2);
    await inShop(3);
  });

  test('a runtime that the node has not, and a label that it has not', async () => {
    await expect(put('a', { runtime: 'vm' })).rejects.toMatchObject({ code: 'image_not_found' });
    await expect(put('a', { placement: { nodeSelector: { arch: 'arm64' } } })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('arch=amd64'),
    });
    await harness.client.node.patch({ name: 'local', body: { metadata: { labels: { zone: 'a' } } } });
    await put('a', { placement: { nodeSelector: { zone: 'a' } } });
  });

  test('a node that takes no new instances keeps those it has; new ones wait with the reason and then go', async () => {
    await harness.client.node.patch({ name: 'local', body: { spec: { unschedulable: true } } });
    const made = await put('a');
    expect(made.status.reason).toBe('a-0 waits: no node is ready and takes new instances');
    expect((await harness.client.instance.show({ project, name: 'a-0' })).status).toMatchObject({
      phase: 'pending',
    });
    await expect(harness.client.instance.stats({ project, name: 'a-0' })).rejects.toMatchObject({
      code: 'guest_not_running',
    });
    await harness.client.node.patch({ name: 'local', body: { spec: { unschedulable: null } } });
    await eventually(
      () => harness.client.workload.show({ project, name: 'a' }),
      ({ status }) => status.ready === 1,
    );
  });
});

test('before any node has joined, workloads and volumes are accepted and wait for one', async () => {
  const harness = await startHarness({ node: false });
  try {
    await harness.client.volume.put({
      project,
      name: 'data',
      body: { apiVersion: 'skerry/v1', kind: 'Volume', metadata: { name: 'data' }, spec: { size: '1GiB' } },
    });
    const made = await harness.client.workload.put({ project, name: 'a', body: workload('a') });
    expect(made.status.reason).toContain('no node has joined yet');
    const node = await startFakeNode(harness.controller.link);
    await eventually(
      () => harness.client.workload.show({ project, name: 'a' }),
      ({ status }) => status.ready === 1,
    );
    await eventually(
      () => harness.client.volume.show({ project, name: 'data' }),
      ({ status }) => status.phase === 'ready',
    );
    await node.stop();
  } finally {
    await harness.close();
  }
});

test('a node that does not answer is lost after the grace, with its instances, and comes back as it was', async () => {
  const harness = await startHarness({ nodeGraceMs: 50 });
  try {
    await harness.client.workload.put({ project, name: 'a', body: workload('a') });
    await eventually(
      () => harness.client.workload.show({ project, name: 'a' }),
      ({ status }) => status.ready === 1,
    );
    await harness.node!.stop();
    await eventually(
      () => harness.client.node.show({ name: 'local' }),
      ({ status }) => status.phase === 'lost',
    );
    const lost = await harness.client.instance.show({ project, name: 'a-0' });
    expect(lost.status).toMatchObject({ phase: 'lost', reason: 'the node local does not answer' });
    harness.node = await startFakeNode(harness.controller.link);
    await eventually(
      () => harness.client.workload.show({ project, name: 'a' }),
      ({ status }) => status.ready === 1,
    );
    expect((await harness.client.instance.show({ project, name: 'a-0' })).metadata.generation).toBe(
      lost.metadata.generation,
    );
  } finally {
    await harness.close();
  }
});
