/** volume: list, show, create, delete. */
import type { Volume } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { sizeOption } from '../option-values.ts';
import { type Column, formatTable } from '../terminal/table.ts';

const COLUMNS: Column<Volume>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'SIZE', value: (row) => row.spec.size },
  { title: 'PHASE', value: (row) => (row.metadata.deletedAt ? 'deleting' : row.status.phase) },
  { title: 'NODE', value: (row) => row.status.node },
  { title: 'USED BY', value: (row) => row.status.usedBy.join(', ') },
  { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
  { title: 'REASON', value: (row) => row.status.reason ?? '' },
];

export function registerVolume(program: Command, context: Context): void {
  const volume = program.command('volume').alias('volumes').description('data that outlives its instances');
  volume
    .command('list')
    .description('volumes of the project')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.volume.list({ project: context.project });
        await context.output.list(items, COLUMNS, `no volumes in project ${context.project}`);
      }),
    );
  volume
    .command('show')
    .description('one volume')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        await context.output.one(await client.volume.show({ project: context.project, name }), (found) =>
          formatTable([found], COLUMNS),
        );
      }),
    );
  volume
    .command('create')
    .description('make a volume')
    .argument('<name>')
    .requiredOption('--size <size>', 'such as 1GiB', sizeOption)
    .action((name: string, { size }: { size: string }) =>
      context.withClient(async (client) => {
        const body = {
          apiVersion: 'skerry/v1' as const,
          kind: 'Volume' as const,
          metadata: { name },
          spec: { size },
        };
        const made = await client.volume.put({ project: context.project, name, body, ifAbsent: true });
        await context.output.one(made, () => `volume/${name} created`);
      }),
    );
  volume
    .command('delete')
    .description('delete volumes and their data')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        for (const name of names) await client.volume.delete({ project: context.project, name });
        await context.output.done(
          names.map((name) => ({ kind: 'Volume', name, outcome: 'deleted' })),
          names.map((name) => `volume/${name} deleted`).join('\n'),
        );
      }),
    );
}
