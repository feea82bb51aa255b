/** workload: list, show, start, stop, restart, delete. The streams (logs, exec, console) are in workload-streams.ts. */
import type { Client } from '@skerry/contract';
import { countsOf, formatBytes, formatMillis, type Instance, type Workload } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { timeoutOption } from '../option-values.ts';
import { type Column, formatTable } from '../terminal/table.ts';
import { describePending, GOES_ON, isReady, waitForStopped, waitForWorkloads } from '../wait.ts';
import { waitUntilGone } from './apply.ts';
import { describeSite, registerWorkloadExplain } from './workload-explain.ts';
import { registerWorkloadGuest } from './workload-guest.ts';
import { registerWorkloadStreams } from './workload-streams.ts';

const SAID = {
  start: ['starting', 'started'],
  stop: ['stopping', 'stopped'],
  restart: ['restarting', 'restarted'],
} as const;

const WORKLOAD_COLUMNS: Column<Workload>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'RUNTIME', value: (row) => row.spec.runtime },
  { title: 'IMAGE', value: (row) => row.spec.image.replace(/(sha256:[0-9a-f]{12})[0-9a-f]{52}$/, '$1…') },
  { title: 'READY', value: (row) => `${countsOf(row).ready}/${countsOf(row).wanted}` },
  { title: 'STATE', value: (row) => (row.metadata.deletedAt ? 'deleting' : row.control.run) },
  { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
  { title: 'REASON', value: (row) => row.status.reason ?? '' },
];

export const INSTANCE_COLUMNS: Column<Instance>[] = [
  { title: 'INSTANCE', value: (row) => row.metadata.name },
  { title: 'RUNTIME', value: (row) => row.spec.template.runtime },
  { title: 'PHASE', value: (row) => row.status.phase },
  { title: 'HEALTH', value: (row) => row.status.health },
  { title: 'ADDRESS', value: (row) => row.status.address ?? row.spec.network?.address },
  {
    title: 'STARTED',
    value: (row) => (row.status.startMs === undefined ? undefined : `in ${formatMillis(row.status.startMs)}`),
  },
  {
    title: 'READY',
    value: (row) => (row.status.readyMs === undefined ? undefined : `in ${formatMillis(row.status.readyMs)}`),
  },
  { title: 'RESTARTS', value: (row) => row.status.restartCount, right: true },
  { title: 'AGE', value: (row) => age(row.status.startedAt) },
  { title: 'REASON', value: (row) => row.status.reason ?? '' },
];

export async function instancesOf(client: Client, project: string, workload: string): Promise<Instance[]> {
  return (await client.instance.list({ project, workload })).items;
}

function describeWorkload(workload: Workload, instances: readonly Instance[]): string {
  const { metadata, spec, status } = workload;
  const lines = [
    `workload   ${metadata.name} (project ${metadata.project ?? 'default'})`,
    `runtime    ${spec.runtime}`,
    `image      ${spec.image}${status.imageDigest ? ` (${status.imageDigest.slice(0, 19)})` : ''}`,
    `ready      ${countsOf(workload).ready} of ${countsOf(workload).wanted}`,
    ...(status.sites ?? []).map((site) => `at site    ${describeSite(site)}`),
    `state      ${metadata.deletedAt ? 'deleting' : workload.control.run}`,
    ...(status.reason ? [`reason     ${status.reason}`] : []),
    ...(spec.ports ?? []).map(
      (port) =>
        `port       ${port.name} ${port.port}/${port.protocol ?? 'tcp'}${port.publish ? `, published at ${port.publish}` : ''}`,
    ),
    ...(status.serviceAddress
      ? [`service    ${status.serviceAddress}, ${metadata.name}.${metadata.project ?? 'default'}.edge`]
      : []),
    '',
    formatTable(instances, INSTANCE_COLUMNS),
  ];
  const exits = instances.flatMap((instance) =>
    instance.status.exits.map((exit) => ({
      at: exit.at,
      instance: instance.metadata.name,
      why: exit.reason,
      what: exit.message,
    })),
  );
  if (exits.length > 0) {
    lines.push('', 'Why it was started again, newest first:');
    lines.push(
      formatTable(exits.sort((a, b) => b.at.localeCompare(a.at)).slice(0, 10), [
        { title: 'AT', value: (row) => row.at },
        { title: 'INSTANCE', value: (row) => row.instance },
        { title: 'WHY', value: (row) => row.why },
        { title: 'WHAT', value: (row) => row.what },
      ]),
    );
  }
  return lines.join('\n');
}

export function registerWorkload(program: Command, context: Context): void {
  const workload = program.command('workload').alias('workloads').description('what runs here');

  workload
    .command('list')
    .description('workloads of the project')
    .option('-l, --selector <labels>', 'only those with these labels, such as app=web')
    .action((options: { selector?: string }) =>
      context.withClient(async (client) => {
        const { items } = await client.workload.list({ project: context.project, ...options });
        await context.output.list(items, WORKLOAD_COLUMNS, `no workloads in project ${context.project}`);
      }),
    );

  workload
    .command('instances')
    .description('instances of the project, or of one workload')
    .argument('[name]', 'workload')
    .action((name: string | undefined) =>
      context.withClient(async (client) => {
        const input = { project: context.project, ...(name === undefined ? {} : { workload: name }) };
        const { items } = await client.instance.list(input);
        if (items.length === 0 && name !== undefined)
          await client.workload.show({ project: context.project, name }); // tells that it is not there
        await context.output.list(items, INSTANCE_COLUMNS, 'no instances');
      }),
    );

  workload
    .command('show')
    .description('one workload, its instances, and why they were started again')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.workload.show({ project: context.project, name });
        const instances = await instancesOf(client, context.project, name);
        if (context.output.format === 'table') context.output.write(describeWorkload(found, instances));
        else await context.output.one({ ...found, instances }, () => '');
      }),
    );

  workload
    .command('stats')
    .description('what the instances use, measured now')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        await client.workload.show({ project: context.project, name }); // tells that it is not there
        const instances = await instancesOf(client, context.project, name);
        const rows = await Promise.all(
          instances
            .filter((instance) => ['running', 'starting'].includes(instance.status.phase))
            .map(async ({ metadata }) => ({
              instance: metadata.name,
              ...(await client.instance.stats({ project: context.project, name: metadata.name })),
            })),
        );
        const bytes = (value: number | undefined) => (value === undefined ? undefined : formatBytes(value));
        await context.output.list(
          rows,
          [
            { title: 'INSTANCE', value: (row) => row.instance },
            { title: 'CPU', value: (row) => formatMillis(row.cpuMs), right: true },
            { title: 'MEMORY', value: (row) => bytes(row.memoryBytes), right: true },
            { title: 'LIMIT', value: (row) => bytes(row.memoryLimitBytes), right: true },
            { title: 'PIDS', value: (row) => row.pids, right: true },
            { title: 'RECEIVED', value: (row) => bytes(row.rxBytes), right: true },
            { title: 'SENT', value: (row) => bytes(row.txBytes), right: true },
          ],
          'no running instances',
        );
      }),
    );

  const verb = (name: 'start' | 'stop' | 'restart', description: string) =>
    workload
      .command(name)
      .description(description)
      .argument('<name...>', 'workloads')
      .option('--wait', 'wait until it is done')
      .addOption(timeoutOption('for --wait', '2m'))
      .action((names: string[], options: { wait?: boolean; timeout: number }) =>
        context.withClient(async (client) => {
          for (const each of names) await client.workload[name]({ project: context.project, name: each });
          if (options.wait && name === 'stop') {
            const progress = context.progress(`stopping ${names.join(', ')}`, GOES_ON);
            await waitForStopped(client, context.project, names, options.timeout).finally(progress.end);
          } else if (options.wait) {
            const progress = context.progress(`${SAID[name][0]} ${names.join(', ')}`, GOES_ON);
            await waitForWorkloads(
              client,
              context.project,
              (all) => names.every((each) => isReady(all.get(each))),
              describePending(names),
              {
                limitMs: options.timeout,
                onChange: progress.update,
              },
            ).finally(progress.end);
          }
          const outcome = SAID[name][options.wait ? 1 : 0];
          await context.output.done(
            names.map((each) => ({ kind: 'Workload', name: each, outcome })),
            names.map((each) => `workload/${each} ${outcome}`).join('\n'),
          );
        }),
      );
  verb('start', 'start what was stopped');
  verb('stop', 'stop the instances; they keep what they have');
  verb('restart', 'restart the instances, one after the other');

  workload
    .command('delete')
    .description('delete workloads and wait until they are gone')
    .argument('<name...>')
    .option('--no-wait', 'do not wait')
    .addOption(timeoutOption('how long to wait', '2m'))
    .action((names: string[], options: { wait: boolean; timeout: number }) =>
      context.withClient(async (client) => {
        for (const name of names) await client.workload.delete({ project: context.project, name });
        if (options.wait) await waitUntilGone(context, client, context.project, names, options.timeout);
        await context.output.done(
          names.map((name) => ({ kind: 'Workload', name, outcome: 'deleted' })),
          names.map((name) => `workload/${name} deleted`).join('\n'),
        );
      }),
    );

  registerWorkloadExplain(workload, context);
  registerWorkloadGuest(workload, context);
  registerWorkloadStreams(workload, context);
}
