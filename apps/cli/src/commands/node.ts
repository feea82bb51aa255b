/** node: list, show, and the tokens with which machines join. */
import { formatBytes, type Node } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { durationOption } from '../durations.ts';
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

interface ShownToken {
  readonly id: string;
  readonly node?: string;
  readonly expiresAt: string;
}
const TOKEN_COLUMNS: Column<ShownToken>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'NODE', value: (row) => row.node ?? 'any' },
  { title: 'GOOD UNTIL', value: (row) => row.expiresAt },
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
  node
    .command('token')
    .description('make a token with which one machine joins: `skerry agent --join TOKEN` there')
    .option(
      '--name <name>',
      'what the node is to be called; also: which node a new machine takes the place of',
    )
    .option('--valid <duration>', 'how long it is good', durationOption, 3_600_000)
    .option('--address <host:port>', 'where that machine finds this controller; default: where it listens')
    .action((options: { name?: string; valid: number; address?: string }) =>
      context.withClient(async (client) => {
        const made = await client.node.token({
          body: {
            validSeconds: Math.ceil(options.valid / 1000),
            ...(options.name === undefined ? {} : { node: options.name }),
            ...(options.address === undefined ? {} : { server: options.address }),
          },
        });
        await context.output.one(made, ({ token }) => token);
      }),
    );
  node
    .command('tokens')
    .description('tokens that are still good, without their secrets')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.node.tokens();
        await context.output.list(items, TOKEN_COLUMNS, 'no tokens');
      }),
    );
  node
    .command('revoke')
    .description('take a token back')
    .argument('<id>')
    .action((id: string) =>
      context.withClient(async (client) => {
        await client.node.revoke({ id });
        context.output.say(`token ${id} is good for nothing any more`);
      }),
    );
}
