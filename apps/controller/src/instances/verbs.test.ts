// What is done to a guest goes to the agent of its node, and its answer comes back.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Harness, startHarness, workload } from '../testing/harness.ts';

let harness: Harness;
const project = 'default';
const at = { project, name: 'a-0' };
beforeAll(async () => {
  harness = await startHarness();
  await harness.client.workload.put({ project, name: 'a', body: workload('a') });
  await eventually(
    () => harness.client.workload.show({ project, name: 'a' }),
    ({ status }) => status.ready === 1,
  );
});
afterAll(() => harness.close());

test('a guest is paused and goes on', async () => {
  expect(await harness.client.instance.pause(at)).toEqual({ instance: 'a-0' });
  expect(await harness.client.instance.resume(at)).toEqual({ instance: 'a-0' });
  const none = harness.client.instance.pause({ project, name: 'none' });
  await expect(none).rejects.toMatchObject({ code: 'not_found' });
});

test('snapshots are taken, listed, restored and forgotten', async () => {
  const { instance } = harness.client;
  expect(await instance.snapshot({ ...at, body: { name: 'first' } })).toMatchObject({ withMemory: true });
  expect((await instance.snapshots(at)).items).toHaveLength(1);
  await instance.restore({ ...at, snapshot: 'first' });
  await instance.forget({ ...at, snapshot: 'first' });
  expect((await instance.snapshots(at)).items).toEqual([]);
  await expect(instance.restore({ ...at, snapshot: 'first' })).rejects.toMatchObject({ code: 'not_found' });
  const wrong = instance.snapshot({ ...at, body: { name: '../x' } });
  await expect(wrong).rejects.toMatchObject({ code: 'request_invalid' });
});

test('sizes carry their units, and what can not be is refused by the node', async () => {
  const { instance } = harness.client;
  expect(await instance.grow({ ...at, body: { disk: '2GiB' } })).toEqual({ instance: 'a-0' });
  await expect(instance.grow({ ...at, body: { disk: '1MiB' } })).rejects.toThrow('it never shrinks');
  await expect(instance.memory({ ...at, body: { memory: 'much' } })).rejects.toMatchObject({
    code: 'request_invalid',
  });
  expect(await instance.memory({ ...at, body: { memory: '64MiB' } })).toEqual({ instance: 'a-0' });
});

test('a screen is shown where it is', async () => {
  const shown = await harness.client.instance.display(at);
  expect(shown).toMatchObject({ node: 'local' });
  expect(shown.socket).toMatch(/vnc$/);
  const { base64 } = await harness.client.instance.screenshot(at);
  expect(Buffer.from(base64, 'base64').toString()).toBe('png');
});
