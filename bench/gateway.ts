/**
 * A service by its virtual address beside the same guest by its own address: same client, same guest, in turns. Each request is
 * a connection of its own, which is the gateway's dearest case: only the first packet of one looks for the way.
 */
import { connect } from 'node:net';
import type { Finding } from './report.ts';
import { manifestOf, type Skerry } from './skerry.ts';
import { digits, median, percentile } from './statistics.ts';

const CONNECTIONS = 4;
const PORT = 8080;
/** Short, so that what else the machine does meets both; many, so that it meets both alike. */
const SLICE_MS = 250;
const SLICES_PER_RUN = 8;
const REQUEST = 'GET /healthz HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n';

/** One request on a connection of its own, until the other side has closed it. Errors: a status other than 200. */
function ask(host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: PORT });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      if (/^HTTP\/1\.[01] 200 /.test(text)) resolve();
      else reject(new Error(`${host} answered: ${text.slice(0, 200)}`));
    });
  });
}

async function slice(host: string, latenciesMs: number[]): Promise<number> {
  const begunMs = performance.now();
  let count = 0;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() - begunMs < SLICE_MS) {
        const fromMs = performance.now();
        await ask(host);
        latenciesMs.push(performance.now() - fromMs);
        count++;
      }
    }),
  );
  return count / ((performance.now() - begunMs) / 1000);
}

async function answering(host: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask(host);
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export async function benchGateway(skerry: Skerry, runs: number): Promise<Finding> {
  await skerry.apply(manifestOf({ name: 'gateway', runtime: 'container', cpus: 1 }));
  const { instance } = await skerry.seen('gateway-0', ({ status }) => status.phase === 'running');
  const { status } = await skerry.client.workload.show({ project: 'default', name: 'gateway' });
  const ways = { direct: instance.spec.network?.address, virtual: status.serviceAddress };
  const { direct, virtual } = ways;
  if (direct === undefined || virtual === undefined) throw new Error('the workload has no address');
  await Promise.all([answering(direct), answering(virtual)]);
  const latencies = { direct: [] as number[], virtual: [] as number[] };
  const rates = { direct: [] as number[], virtual: [] as number[] };
  const ratios: number[] = [];
  for (let turn = -1; turn < runs * SLICES_PER_RUN; turn++) {
    const order = turn % 2 === 0 ? (['direct', 'virtual'] as const) : (['virtual', 'direct'] as const);
    const rate = { direct: 0, virtual: 0 };
    for (const way of order) {
      rate[way] = await slice(way === 'direct' ? direct : virtual, turn < 0 ? [] : latencies[way]);
      if (turn >= 0) rates[way].push(rate[way]);
    }
    if (turn >= 0) ratios.push(rate.virtual / rate.direct);
  }
  await skerry.remove('gateway');
  const throughput = median(ratios);
  const p99 = percentile(latencies.virtual, 0.99) / percentile(latencies.direct, 0.99);
  const row = (name: string, way: 'direct' | 'virtual') => [
    name,
    `${latencies[way].length}`,
    `${Math.round(median(rates[way]))}`,
    digits(median(latencies[way])),
    digits(percentile(latencies[way], 0.99)),
  ];
  return {
    id: 'gateway',
    title: 'A service by its virtual address',
    verdicts: [
      {
        promise: 'throughput by the virtual address at least 0.95 times that by the direct one',
        measured: `${digits(throughput)} times`,
        kept: throughput >= 0.95,
      },
      {
        promise: 'p99 by the virtual address at most 1.1 times that by the direct one',
        measured: `${digits(p99)} times`,
        kept: p99 <= 1.1,
      },
    ],
    tables: [
      {
        title: `${CONNECTIONS} clients, a connection for each request, slices of ${SLICE_MS} ms in turns`,
        columns: ['', 'requests', 'requests/s (median)', 'median ms', 'p99 ms'],
        rows: [
          row('direct address of the guest', 'direct'),
          row('virtual address of the service', 'virtual'),
        ],
      },
    ],
    notes: [
      'The client is on the node itself; the throughput is the median of the ratios of neighbouring slices.',
    ],
    samples: { ...latencies, ratios },
  };
}
