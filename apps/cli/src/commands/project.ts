/** project: list, show, create, delete. */
import type { Project } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { type Column, formatTable } from '../terminal/table.ts';

const COLUMNS: Column<Project>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'INSTANCES', value: (row) => row.status.instances, right: true },
  { title: 'CPUS', value: (row) => row.spec.quota?.cpus, right: true },
  { title: 'MEMORY', value: (row) => row.spec.quota?.memory, right: true },
  { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
  { title: 'DESCRIPTION', value: (row) => row.spec.description ?? '' },
];

export function registerProject(program: Command, context: Context): void {
  const project = program
    .command('project')
    .alias('projects')
    .description('tenants: workloads, volumes and images of their own');
  project
    .command('list')
    .description('all projects')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.project.list();
        await context.output.list(items, COLUMNS, 'no projects');
      }),
    );
  project
    .command('show')
    .description('one project')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        await context.output.one(await client.project.show({ project: name }), (found) =>
          formatTable([found], COLUMNS),
        );
      }),
    );
  project
    .command('create')
    .description('make a project')
    .argument('<name>')
    .option('--description <text>')
    .action((name: string, { description }: { description?: string }) =>
      context.withClient(async (client) => {
        const spec = description === undefined ? {} : { description };
        const body = { apiVersion: 'skerry/v1' as const, kind: 'Project' as const, metadata: { name }, spec };
        const made = await client.project.put({ project: name, body, ifAbsent: true });
        await context.output.one(made, () => `project/${name} created`);
      }),
    );
  project
    .command('delete')
    .description('delete empty projects')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        for (const name of names) await client.project.delete({ project: name });
        await context.output.done(
          names.map((name) => ({ kind: 'Project', name, outcome: 'deleted' })),
          names.map((name) => `project/${name} deleted`).join('\n'),
        );
      }),
    );
}
