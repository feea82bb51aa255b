/** node: list and show. */
import { formatBytes, type Node } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { Column } from '../terminal/table.ts';

const COLUMNS: Column<Node>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'PHASE', value: (row) => row.status.phase },
  { title: 'CPUS', value: (row) => `${row.status.allocated.cpus}/${row.status.capacity.cpus}`, right: true },
  {
    title: 'MEMORY',
    value: (row) =>
      `${formatBytes(row.status.allocated.memoryBytes)}/${formatBytes(row.status.capacity.memoryBytes)}`,
    right: true,
  },
  { title: 'INSTANCES', value: (row) => row.status.allocated.instances, right: true },
  { title: 'SUBNET', value: (row) => row.status.subnet },
  { title: 'KERNEL', value: (row) => row.status.kernel },
];

export function registerNode(program: Command, context: Context): void {
  const node = program.command('node').alias('nodes').description('machines');
  node
    .command('list')
    .description('nodes')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.node.list();
        await context.output.list(items, COLUMNS, 'no nodes');
      }),
    );
  node
    .command('show')
    .description('one node and what works on it')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.node.show({ name });
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(found, (value) =>
          toYaml({ name: value.metadata.name, ...value.spec, ...value.status }),
        );
      }),
    );
}
