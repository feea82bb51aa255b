/** site, access-point, link, client: list, show, delete; client move (a handover); access-point import. */
import type { Latency } from '@skerry/contract';
import type { AccessPoint, Client, Link, Location, Site } from '@skerry/model';
import { formatMillis } from '@skerry/model';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { readTextFile } from '../read-file.ts';
import type { Column } from '../terminal/table.ts';

const place = (location: Location | undefined) =>
  location ? `${location.lat.toFixed(4)},${location.lon.toFixed(4)}` : '';

const SITE: Column<Site>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'NODES', value: (row) => row.status.nodes.join(', ') },
  { title: 'ACCESS POINTS', value: (row) => row.status.accessPoints, right: true },
  { title: 'LOCATION', value: (row) => place(row.spec.location) },
];
const ACCESS_POINT: Column<AccessPoint>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'TYPE', value: (row) => row.spec.type },
  { title: 'SITE', value: (row) => row.spec.site },
  { title: 'CLIENTS', value: (row) => row.status.clients, right: true },
  {
    title: 'NEAREST',
    value: ({ status: { nearest } }) =>
      nearest ? `${nearest.site} ${Number(nearest.latencyMs.toFixed(2))}ms` : '',
  },
  { title: 'LOCATION', value: (row) => place(row.spec.location) },
];
const LINK: Column<Link>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'BETWEEN', value: (row) => row.spec.between.join(' - ') },
  { title: 'LATENCY', value: (row) => row.spec.latency, right: true },
  { title: 'BANDWIDTH', value: (row) => row.spec.bandwidth, right: true },
  { title: 'LOSS', value: (row) => (row.spec.loss ? `${row.spec.loss * 100}%` : ''), right: true },
  { title: 'STATE', value: (row) => (row.status.up ? 'up' : 'down') },
];
const CLIENT: Column<Client>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'ATTACHED TO', value: (row) => row.spec.attachedTo ?? '(away)' },
  { title: 'ADDRESS', value: (row) => row.spec.address },
  { title: 'SINCE', value: (row) => (row.status.attachedAt ? age(row.status.attachedAt) : '') },
  { title: 'HANDOVERS', value: (row) => row.status.handovers, right: true },
];

const ms = (value: number | undefined) => (value === undefined ? '-' : `${Number(value.toFixed(2))}ms`);
const LATENCY: Column<Latency>[] = [
  { title: 'FROM', value: (row) => row.from },
  { title: 'TO', value: (row) => row.to },
  { title: 'MODELLED', value: (row) => ms(row.modelledMs), right: true },
  { title: 'MEASURED', value: (row) => ms(row.measuredMs), right: true },
  { title: 'LEAST', value: (row) => ms(row.leastMs), right: true },
  {
    title: 'LOSS',
    value: (row) => (row.lossShare > 0 ? `${Math.round(row.lossShare * 100)}%` : ''),
    right: true,
  },
  { title: 'BY', value: (row) => row.by },
  { title: 'AGE', value: (row) => formatMillis(row.ageMs), right: true },
];

type Group = 'site' | 'access-point' | 'link' | 'client';

function register<T>(program: Command, context: Context, group: Group, about: string, columns: Column<T>[]) {
  const many = `${group}s`;
  const command = program.command(group).alias(many).description(about);
  command
    .command('list')
    .description(`all ${many.replace('-', ' ')}`)
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client[group].list();
        await context.output.list(items as T[], columns, `no ${many.replace('-', ' ')}`);
      }),
    );
  command
    .command('show')
    .description('one of them, with its numbers')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client[group].show({ name });
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(found, (value) =>
          toYaml({
            name: value.metadata.name,
            labels: value.metadata.labels,
            ...value.spec,
            ...value.status,
          }),
        );
      }),
    );
  command
    .command('delete')
    .description('delete those that nothing needs any more')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        const gone: { kind: string; name: string; outcome: string }[] = [];
        for (const name of names) {
          const { kind } = await client[group].delete({ name });
          gone.push({ kind, name, outcome: 'deleted' });
        }
        await context.output.done(gone, gone.map(({ name }) => `${group}/${name} deleted`).join('\n'));
      }),
    );
  return command;
}

interface ImportOptions {
  readonly format?: 'geojson' | 'csv';
  readonly nearestSite?: boolean;
  readonly dryRun?: boolean;
}

export function registerAccessNetwork(program: Command, context: Context): void {
  register(program, context, 'site', 'places with nodes', SITE);
  register(program, context, 'access-point', 'where clients attach', ACCESS_POINT)
    .command('import')
    .description('make access points, sites and links of a GeoJSON or CSV list, all or none')
    .argument('<file>', 'the list, or - for standard input')
    .addOption(
      new Option('--format <format>', 'default: by the end of the file’s name').choices(['geojson', 'csv']),
    )
    .option('--nearest-site', 'link each access point that names no site to the nearest one')
    .option('--dry-run', 'tell what would be made, and make nothing')
    .action((file: string, options: ImportOptions) =>
      context.withClient(async (client) => {
        const format = options.format ?? (/\.csv$/i.test(file) ? 'csv' : 'geojson');
        const result = await client['access-network'].import({
          format,
          body: readTextFile(file),
          ...(options.nearestSite && { nearestSite: true }),
          ...(options.dryRun && { dryRun: true }),
        });
        await context.output.one(result, ({ documents }) => {
          const counts = new Map<string, number>();
          for (const { kind, outcome } of documents)
            counts.set(`${kind} ${outcome}`, (counts.get(`${kind} ${outcome}`) ?? 0) + 1);
          return [...counts].map(([words, count]) => `${count} ${words}`).join('\n');
        });
      }),
    );
  register(program, context, 'link', 'connections between access points and sites', LINK)
    .command('measured')
    .description('how far nodes and clients are from each other, one way: modelled and measured')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.latency.list();
        await context.output.list(items, LATENCY, 'nothing has been measured');
      }),
    );
  register(program, context, 'client', 'what attaches to access points', CLIENT)
    .command('move')
    .description('a handover: the client comes through another access point from now on')
    .argument('<name>')
    .argument('<access-point>')
    .action((name: string, attachedTo: string) =>
      context.withClient(async (client) => {
        const moved = await client.client.patch({ name, body: { spec: { attachedTo } } });
        await context.output.one(moved, () => `client/${name} is at ${attachedTo}`);
      }),
    );
}
