/** stream: list, show, tail, delete. Streams are made by `apply`. */
import type { Stream } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { Column } from '../terminal/table.ts';

type Counts = Stream['status']['nodes'][number];
const sum = (row: Stream, of: 'received' | 'sent' | 'waiting' | 'dropped' | 'refused') =>
  row.status.nodes.reduce((total, node) => total + node[of], 0);
const failing = ({ status }: Stream) =>
  status.nodes.flatMap(({ node, failing: why }: Counts) => (why === undefined ? [] : [`${node}: ${why}`]));

const COLUMNS: Column<Stream>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'STATE', value: (row) => stateOf(row) },
  { title: 'RECEIVED', value: (row) => sum(row, 'received'), right: true },
  { title: 'SENT', value: (row) => sum(row, 'sent'), right: true },
  { title: 'WAITING', value: (row) => sum(row, 'waiting'), right: true },
  { title: 'DROPPED', value: (row) => sum(row, 'dropped'), right: true },
  { title: 'REFUSED', value: (row) => sum(row, 'refused'), right: true },
  { title: 'NODES', value: (row) => row.status.nodes.length, right: true },
  { title: 'FAILING', value: (row) => failing(row).join('; ') },
];

function stateOf(row: Stream): string {
  if (row.spec.paused) return 'paused';
  return failing(row).length > 0 ? 'failing' : 'running';
}

export function registerStream(program: Command, context: Context): void {
  const stream = program
    .command('stream')
    .alias('streams')
    .description('data of devices, processed where it comes in');
  stream
    .command('list')
    .description('streams of the project, with what passed since the nodes began to count')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.stream.list({ project: context.project });
        await context.output.list(items, COLUMNS, `no streams in project ${context.project}`);
      }),
    );
  stream
    .command('show')
    .description('one stream, with its counts at each node')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.stream.show({ project: context.project, name });
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(found, ({ metadata, spec, status }) =>
          toYaml({ name: metadata.name, labels: metadata.labels, ...spec, ...status }),
        );
      }),
    );
  stream
    .command('tail')
    .description('messages as they pass each step, from now on, until Ctrl-C')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        for await (const line of client.stream.tail({ project: context.project, name }))
          await context.output.each(line, ({ atMs, node, place, device, topic, value, refused }) => {
            const time = new Date(atMs).toISOString().slice(11, 23);
            const why = refused === undefined ? '' : `refused: ${refused}: `;
            return `${time} ${node} ${place.padEnd(12)} ${device} ${topic} ${why}${value}`;
          });
      }),
    );
  stream
    .command('delete')
    .description('delete streams that no other one sends to')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        for (const name of names) await client.stream.delete({ project: context.project, name });
        await context.output.done(
          names.map((name) => ({ kind: 'Stream', name, outcome: 'deleted' })),
          names.map((name) => `stream/${name} deleted`).join('\n'),
        );
      }),
    );
}
