/** What the API takes: reading one workload, and durable changes by 64 clients. The load comes from this process. */
import { httpRequest, type LoadResult, load } from './load.ts';
import { cpuMs } from './processes.ts';
import type { Finding } from './report.ts';
import type { Skerry } from './skerry.ts';
import { digits, percentile } from './statistics.ts';

const CLIENTS = 64;
const READERS = 16;
const SECONDS = 6;

/** Without replicas: each request changes what is stored, and starts nothing. */
const workload = (name: string, turn: number) =>
  JSON.stringify({
    apiVersion: 'skerry/v1',
    kind: 'Workload',
    metadata: { name },
    spec: { runtime: 'container', image: 'hello:1', replicas: 0, env: { TURN: String(turn) } },
  });

export async function benchApi(skerry: Skerry): Promise<Finding> {
  const { socketPath } = skerry;
  const pid = skerry.program.pid();
  await skerry.apply(workload('one', 0));
  const path = '/v1/projects/default/workloads';

  const measured = async (connections: number, request: (connection: number, turn: number) => string) => {
    const before = { cpu: cpuMs(pid), at: performance.now() };
    const result = await load({ socketPath, connections, seconds: SECONDS, request });
    const share = (cpuMs(pid) - before.cpu) / (performance.now() - before.at);
    return { ...result, share };
  };
  const read = await measured(READERS, () => httpRequest('GET', `${path}/one`));
  const put = await measured(CLIENTS, (client, turn) =>
    httpRequest('PUT', `${path}/put${client}`, workload(`put${client}`, turn)),
  );
  const apply = await measured(CLIENTS, (client, turn) =>
    httpRequest('POST', '/v1/apply?project=default', workload(`apply${client}`, turn), 'application/yaml'),
  );
  const row = (
    name: string,
    clients: number,
    { perSecond, latenciesMs, share }: LoadResult & { share: number },
  ) => [
    name,
    String(clients),
    digits(perSecond),
    ...[0.5, 0.99].map((part) => `${digits(percentile(latenciesMs, part))} ms`),
    `${digits(share * 100)} %`,
  ];
  return {
    id: 'api',
    title: 'The API under load',
    verdicts: [
      {
        promise: 'GET of one workload, 2,000 a second or more on one core',
        measured: `${digits(read.perSecond)} a second`,
        kept: read.perSecond >= 2000,
      },
      {
        promise: 'apply acknowledged durable, 5,000 a second or more with 64 clients',
        measured: `${digits(apply.perSecond)} a second as manifests, ${digits(put.perSecond)} a second as PUT`,
        kept: apply.perSecond >= 5000,
      },
    ],
    tables: [
      {
        title: `${SECONDS} s each, over the unix socket`,
        columns: ['', 'clients', 'a second', 'p50', 'p99', 'processor of the server'],
        rows: [
          row('GET of one workload', READERS, read),
          row('PUT of a workload', CLIENTS, put),
          row('apply of a manifest of one workload', CLIENTS, apply),
        ],
      },
    ],
    notes: [
      'Each PUT and each apply changes the spec of a workload of its own with replicas: 0, so that every acknowledgement stands for a durable write. Each client has one request under way.',
    ],
    samples: {},
  };
}
