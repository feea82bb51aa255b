/** node: list, show, drain, delete, and the tokens with which machines join. */
import { formatBytes, type Node } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { timeoutOption } from '../option-values.ts';
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
  const node = program
    .command('node')
    .alias('nodes')
    .description('machines that run guests, and the tokens with which they join');
  node
    .command('list')
    .description('nodes, and what of them is taken')
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
    .command('drain')
    .description('move its instances to other nodes, one of a workload at a time; it takes no new ones')
    .argument('<name>')
    .option('--wait', 'until those that can be elsewhere are')
    .addOption(timeoutOption('how long to wait', '5m'))
    .action((name: string, options: { wait?: boolean; timeout: number }) =>
      context.withClient(async (client) => {
        await client.node.drain({ name });
        if (!options.wait)
          return context.output.done(
            { node: name, drained: 'asked' },
            `the instances of ${name} are moved away`,
          );
        const progress = context.progress(
          `moving the instances of ${name} away`,
          'the node goes on being drained',
        );
        const { waitForDrained } = await import('../wait-drained.ts');
        const stay = await waitForDrained(client, name, options.timeout).finally(progress.end);
        await context.output.done(
          { node: name, drained: stay.length === 0, stay },
          stay.length === 0 ? `${name} has no instances` : `of ${name}, ${stay.join('; ')}`,
        );
      }),
    );
  node
    .command('undrain')
    .description('let a node take instances again')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        await client.node.undrain({ name });
        await context.output.done({ node: name, drained: false }, `${name} takes instances again`);
      }),
    );
  node
    .command('delete')
    .description('take a node out: its machine is turned away, its instances are started elsewhere')
    .argument('<name>')
    .option('--force', 'though it has instances, or the data of volumes, which is given up')
    .action((name: string, options: { force?: boolean }) =>
      context.withClient(async (client) => {
        await client.node.delete({ name, ...(options.force ? { force: true } : {}) });
        await context.output.done({ kind: 'Node', name, outcome: 'deleted' }, `${name} was taken out`);
      }),
    );
  node
    .command('token')
    .description('make a token with which one machine joins: `skerry agent --join TOKEN` there')
    .option(
      '--name <name>',
      'what the node is to be called; also: which node a new machine takes the place of',
    )
    .addOption(timeoutOption('how long it is good', '1h', '--valid'))
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
        await context.output.done(
          { token: id, outcome: 'revoked' },
          `token ${id} is good for nothing any more`,
        );
      }),
    );
}
