import { SkerryError } from '@skerry/model';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

const project = 'default';

describe.each(['memory', 'sqlite'] as const)('workloads on the %s store', (engine) => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness({ engine });
  });
  afterEach(async () => {
    const { errors } = harness;
    await harness.close();
    expect(errors).toEqual([]);
  });
  const ready = (name: string, count: number) =>
    eventually(
      () => harness.client.workload.show({ project, name }),
      ({ status, metadata }) => status.ready === count && status.observedGeneration === metadata.generation,
    );
  const instances = async (name?: string) =>
    (await harness.client.instance.list({ project, ...(name !== undefined && { workload: name }) })).items;

  test('a workload that was put has its instances, with addresses, and becomes ready', async () => {
    const made = await harness.client.workload.put({
      project,
      name: 'hello',
      body: workload('hello', { replicas: 3 }),
    });
    expect(made.status.replicas).toBe(3);
    expect(made.metadata.generation).toBe(1);
    await ready('hello', 3);
    const list = await instances('hello');
    expect(list.map(({ metadata }) => metadata.name)).toEqual(['hello-0', 'hello-1', 'hello-2']);
    expect(list.map(({ spec }) => spec.network)).toEqual([
      { address: '10.90.0.2', mac: '02:53:0a:5a:00:02', slot: 2 },
      { address: '10.90.0.3', mac: '02:53:0a:5a:00:03', slot: 3 },
      { address: '10.90.0.4', mac: '02:53:0a:5a:00:04', slot: 4 },
    ]);
    expect(list.every(({ spec, status }) => spec.node === 'local' && status.phase === 'running')).toBe(true);
  });

  test('putting the same again changes nothing; labels alone replace no instance', async () => {
    const first = await harness.client.workload.put({ project, name: 'a', body: workload('a') });
    await ready('a', 1);
    const second = await harness.client.workload.put({ project, name: 'a', body: workload('a') });
    expect(second.metadata.generation).toBe(first.metadata.generation);
    const [before] = await instances('a');
    const third = await harness.client.workload.put({
      project,
      name: 'a',
      body: workload('a', {}, { labels: { tier: 'front' } }),
    });
    expect(third.metadata.labels).toEqual({ tier: 'front' });
    expect((await instances('a'))[0]!.metadata.generation).toBe(before!.metadata.generation);
  });

  test('a changed spec replaces one instance after the other, and stops at the first that fails', async () => {
    await harness.client.workload.put({ project, name: 'web', body: workload('web', { replicas: 3 }) });
    await ready('web', 3);
    harness.node!.phases.set('web-0', 'failed');
    await harness.client.workload.put({
      project,
      name: 'web',
      body: workload('web', { replicas: 3, env: { V: '2' } }),
    });
    const stuck = await eventually(
      () => harness.client.workload.show({ project, name: 'web' }),
      ({ status }) => status.ready === 2,
    );
    expect(stuck.status.reason).toContain('2 of 3 instances are still to be replaced');
    expect((await instances('web')).map(({ spec }) => spec.template.env?.V)).toEqual([
      '2',
      undefined,
      undefined,
    ]);

    harness.node!.phases.delete('web-0');
    await harness.client.workload.put({
      project,
      name: 'web',
      body: workload('web', { replicas: 3, env: { V: '3' } }),
    });
    await eventually(
      () => instances('web'),
      (list) => list.every(({ spec, status }) => spec.template.env?.V === '3' && status.phase === 'running'),
    );
    // Never two of them were out of date and told to change at once.
    const changing = harness.node!.seen.map(
      (state) => state.instances.filter((one) => one.spec.template.env?.V === '3').length,
    );
    expect(changing.filter((count, i) => count - (changing[i - 1] ?? 0) > 1)).toEqual([]);
  });

  test('fewer replicas take away the highest; an address is free again only when its guest is gone', async () => {
    await harness.client.workload.put({ project, name: 'a', body: workload('a', { replicas: 3 }) });
    await ready('a', 3);
    harness.node!.holdRemoval = true;
    await harness.client.workload.patch({ project, name: 'a', body: { spec: { replicas: 1 } } });
    await eventually(
      () => instances('a'),
      (list) => list.filter(({ metadata }) => metadata.deletedAt).length === 2,
    );
    await harness.client.workload.put({ project, name: 'b', body: workload('b', { replicas: 2 }) });
    await ready('b', 2);
    expect((await instances('b')).map(({ spec }) => spec.network!.slot)).toEqual([5, 6]);
    harness.node!.holdRemoval = false;
    await harness.node!.report();
    await harness.client.workload.patch({ project, name: 'a', body: { spec: { replicas: 2 } } });
    await ready('a', 2);
    expect((await instances('a')).map(({ metadata }) => metadata.name)).toEqual(['a-0', 'a-1']);
  });

  test('a deleted workload goes when its instances are gone, and its name can be used again', async () => {
    await harness.client.workload.put({ project, name: 'a', body: workload('a', { replicas: 2 }) });
    await ready('a', 2);
    harness.node!.holdRemoval = true;
    const going = await harness.client.workload.delete({ project, name: 'a' });
    expect(going.metadata.deletedAt).toBeDefined();
    await expect(
      harness.client.workload.put({ project, name: 'a', body: workload('a') }),
    ).rejects.toMatchObject({ code: 'phase_forbids' });
    harness.node!.holdRemoval = false;
    await harness.node!.report();
    await eventually(
      async () => harness.client.workload.show({ project, name: 'a' }).catch((error: SkerryError) => error),
      (answer) => answer instanceof SkerryError && answer.code === 'not_found',
    );
    expect(await instances('a')).toEqual([]);
    await harness.client.workload.put({ project, name: 'a', body: workload('a') });
    await ready('a', 1);
  });

  test('stop, start and restart are counters that instances follow', async () => {
    await harness.client.workload.put({ project, name: 'a', body: workload('a', { replicas: 2 }) });
    await ready('a', 2);
    await harness.client.workload.stop({ project, name: 'a' });
    await eventually(
      () => instances('a'),
      (list) => list.every(({ status }) => status.phase === 'stopped'),
    );
    await expect(harness.client.workload.restart({ project, name: 'a' })).rejects.toMatchObject({
      code: 'phase_forbids',
    });
    await harness.client.workload.start({ project, name: 'a' });
    await ready('a', 2);
    await harness.client.workload.restart({ project, name: 'a' });
    await eventually(
      () => instances('a'),
      (list) => list.every(({ spec, status }) => spec.restarts === 1 && status.phase === 'running'),
    );
  });

  test('If-Match and If-None-Match are held; a patch is a merge patch', async () => {
    const made = await harness.client.workload.put({
      project,
      name: 'a',
      body: workload('a', { env: { A: '1', B: '2' } }),
      ifAbsent: true,
    });
    await expect(
      harness.client.workload.put({ project, name: 'a', body: workload('a'), ifAbsent: true }),
    ).rejects.toMatchObject({ code: 'precondition_failed' });
    await expect(
      harness.client.workload.patch({ project, name: 'a', body: {}, ifMatch: made.metadata.revision + 1000 }),
    ).rejects.toMatchObject({ code: 'precondition_failed' });
    const patched = await harness.client.workload.patch({
      project,
      name: 'a',
      body: { spec: { env: { A: null, C: '3' } } },
    });
    expect(patched.spec.env).toEqual({ B: '2', C: '3' });
    await expect(
      harness.client.workload.patch({ project, name: 'a', body: { spec: { runtime: null } } }),
    ).rejects.toMatchObject({
      code: 'manifest_invalid',
      details: { errors: [{ field: 'spec.runtime', message: 'is missing' }] },
    });
    // What a GET gave can be put back as it is.
    const { metadata } = await harness.client.workload.put({ project, name: 'a', body: patched as never });
    expect(metadata.generation).toBe(patched.metadata.generation);
  });

  test('after a restart of the controller all is as before, and generations go on rising', async () => {
    await harness.client.workload.put({ project, name: 'a', body: workload('a', { replicas: 2 }) });
    await ready('a', 2);
    const before = await instances('a');
    const generation = harness.node!.seen.at(-1)!.generation;
    await harness.restart();
    expect(await instances('a')).toEqual(before);
    expect(harness.node!.seen[0]!.generation).toBeGreaterThanOrEqual(generation);
    await harness.client.workload.patch({ project, name: 'a', body: { spec: { replicas: 3 } } });
    await ready('a', 3);
    expect((await instances('a'))[2]!.spec.network!.slot).toBe(4);
    const generations = harness.node!.seen.map((state) => state.generation);
    expect(generations).toEqual([...generations].sort((a, b) => a - b));
  });
});
