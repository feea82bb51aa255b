// What a session costs on which nothing happens: real bytes between a whole agent and its controller, TLS included. The agent's
// clock runs a hundred times as fast, so that seconds of the test are minutes of its timers, all of them.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { startSimNode } from '@skerry/app-agent/sim';
import { type Clock, realClock } from '@skerry/reconcile';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Harness, startHarness, workload } from '../../apps/controller/src/testing/harness.ts';

const FASTER = 100;
const LOOK_MS = 3000;
const HOUR_MS = 3_600_000;
/** 257 pings with their answers, of 52 bytes with what TLS adds; a tenth more for timers that are late or early. */
const IDLE_BYTES_PER_HOUR = 15_000;
/** A lease of 27.6 s is asked for each quarter of its time. */
const LEASE_BYTES_PER_HOUR = 200_000;
const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const fast: Clock = {
  nowMs: () => realClock.nowMs(),
  monotonicMs: () => realClock.monotonicMs() * FASTER,
  after: (ms, run) => realClock.after(ms / FASTER, run),
};

let harness: Harness;
let bytes = 0;
const sockets: Socket[] = [];
const proxy = createServer((near) => {
  const far = connect(harness.httpsPort, '127.0.0.1');
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    sockets.push(from);
    from.on('data', (data) => {
      bytes += data.length;
      to.write(data);
    });
    from.on('close', () => to.destroy()).on('error', () => to.destroy());
  }
});
let node: Awaited<ReturnType<typeof startSimNode>>;

beforeAll(async () => {
  harness = await startHarness({ https: true, node: false });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const server = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const { token } = await harness.client.node.token({ body: { node: 'north', server } });
  node = await startSimNode({ token, name: 'north', number: 1, logger: quiet, clock: fast });
});
afterAll(async () => {
  await node.stop();
  for (const socket of sockets) socket.destroy();
  proxy.close();
  await harness.close();
});

/** Once the talk has come to rest: so many bytes in both directions in an hour of the agent's time. */
async function bytesPerHour(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 300)); // for what is on its way
  const from = bytes;
  const fromMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS)); // what is measured is this time
  return ((bytes - from) * HOUR_MS) / ((performance.now() - fromMs) * FASTER);
}
const running = (name: string) =>
  eventually('it runs', async () => {
    const { items } = await harness.client.instance.list({ project: 'default' });
    return items.some(({ metadata, status }) => metadata.name === name && status.phase === 'running');
  });

test('an idle session costs less than 15 kB an hour, also with instances', async () => {
  await harness.client.workload.put({ project: 'default', name: 'web', body: workload('web') });
  await running('web-0');
  const cost = await bytesPerHour();
  expect(cost).toBeLessThan(IDLE_BYTES_PER_HOUR);
  expect(cost).toBeGreaterThan(IDLE_BYTES_PER_HOUR / 3); // it is alive
}, 30_000);

test('a single instance adds its lease, less than 200 kB an hour', async () => {
  const body = workload('one', { singleInstance: true });
  await harness.client.workload.put({ project: 'default', name: 'one', body });
  await running('one-0');
  const cost = await bytesPerHour();
  expect(cost).toBeLessThan(LEASE_BYTES_PER_HOUR);
  expect(cost).toBeGreaterThan(IDLE_BYTES_PER_HOUR);
}, 30_000);
