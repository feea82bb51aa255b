/** series: what devices measured, as the nodes keep it. */
import { open } from 'node:fs/promises';
import type { RouteInput, RouteOutput } from '@skerry/contract';
import { formatBytes, parseMillis, SkerryError } from '@skerry/model';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { someOption } from '../option-values.ts';
import { type Column, formatTable } from '../terminal/table.ts';

type Listed = RouteOutput<'series.list'>['items'][number];
type Point = RouteOutput<'series.points'>;

const LISTED: Column<Listed>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'NODES', value: (row) => row.nodes.join(',') },
  { title: 'DEVICES', value: (row) => row.devices, right: true },
  { title: 'FIELDS', value: (row) => row.fields.join(',') },
  { title: 'POINTS', value: (row) => row.points, right: true },
  { title: 'FROM', value: (row) => row.from },
  { title: 'TO', value: (row) => row.to },
  { title: 'SIZE', value: (row) => formatBytes(row.bytes), right: true },
];
const POINTS: Column<Point>[] = [
  { title: 'AT', value: (row) => row.at },
  { title: 'DEVICE', value: (row) => row.device },
  { title: 'FIELD', value: (row) => row.field },
  { title: 'VALUE', value: (row) => row.value, right: true },
];
/** Lines of a table as they come: this many share the widths of their columns. */
const TABLE_ROWS = 200;

interface RangeOptions {
  readonly from?: string;
  readonly to?: string;
  readonly device?: string[];
  readonly field?: string[];
  readonly step?: string;
  readonly aggregate?: 'mean';
  readonly node?: string;
}

/** A time, or how long ago: `2026-06-01T00:00:00Z`, `2026-06-01`, `2h`. */
function timeOf(text: string, option: string): string {
  const atMs = /^\d{4}-/.test(text) ? Date.parse(text) : Date.now() - parseMillis(text);
  if (Number.isFinite(atMs)) return new Date(atMs).toISOString();
  throw new SkerryError(
    'request_invalid',
    `${option}: "${text}" is no time: write it like 2026-06-01T12:00:00Z, or 2h for two hours ago`,
  );
}

const rangeOf = ({ from, to, ...rest }: RangeOptions) => ({
  ...rest,
  ...(from !== undefined && { from: timeOf(from, '--from') }),
  ...(to !== undefined && { to: timeOf(to, '--to') }),
});

export function registerSeries(program: Command, context: Context): void {
  const series = program.command('series').description('what devices measured, kept at the nodes');
  const ofNode = (command: Command) => command.option('--node <name>', 'only what this node keeps');
  const range = (command: Command) =>
    ofNode(command)
      .option('--from <time>', 'from this time on; or how long ago, such as 2h')
      .option('--to <time>', 'before this time')
      .option('--device <name...>', 'only of these devices')
      .option('--field <name...>', 'only these fields')
      .option('--step <duration>', 'one point per so much time, such as 1m')
      .addOption(
        new Option(
          '--aggregate <how>',
          'what a point is of all in its step; mean where nothing is said',
        ).choices([...['mean', 'min', 'max', 'sum', 'count', 'last']]),
      );
  const show = async (points: AsyncIterable<Point>) => {
    let rows: Point[] = [];
    let heading = true;
    const flush = () => {
      if (rows.length === 0) return;
      const text = formatTable(rows, POINTS);
      context.output.write(heading ? text : text.slice(text.indexOf('\n') + 1));
      heading = false;
      rows = [];
    };
    for await (const point of points) {
      if (context.output.format !== 'table') await context.output.each(point, () => '');
      else if (rows.push(point) >= TABLE_ROWS) flush();
    }
    flush();
  };

  ofNode(series.command('list').description('time series with their devices, fields and sizes')).action(
    (options: { node?: string }) =>
      context.withClient(async (client) => {
        const { items } = await client.series.list({ project: context.project, ...options });
        await context.output.list(items, LISTED, 'no time series');
      }),
  );
  range(series.command('show').description('points of a series, oldest first').argument('<name>'))
    .option('-n, --limit <points>', 'at most so many', someOption)
    .action((name: string, { limit, ...options }: RangeOptions & { limit?: number }) =>
      context.withClient((client) =>
        show(
          client.series.points({
            ...{ project: context.project, name, ...rangeOf(options) },
            ...(limit !== undefined && { limit }),
          }),
        ),
      ),
    );
  ofNode(
    series.command('last').description('the newest point of each device and field').argument('<name>'),
  ).action((name: string, options: { node?: string }) =>
    context.withClient((client) => show(client.series.last({ project: context.project, name, ...options }))),
  );
  range(series.command('export').description('a series as a file').argument('<name>'))
    .addOption(new Option('--format <format>', 'what is written').choices(['csv', 'parquet']).default('csv'))
    .option('--file <path>', 'where to; without it to stdout')
    .action(
      (
        name: string,
        { file, format, ...options }: RangeOptions & { file?: string; format: 'csv' | 'parquet' },
      ) =>
        context.withClient(async (client) => {
          const input: RouteInput<'series.export'> = {
            ...{ project: context.project, name, format, ...rangeOf(options) },
          };
          const target = file === undefined ? undefined : await open(file, 'w', 0o644);
          let bytes = 0;
          try {
            for await (const { data } of client.series.export(input)) {
              const piece = Buffer.from(data, 'base64');
              bytes += piece.length;
              if (target) await target.writeFile(piece);
              else await new Promise<void>((resolve) => process.stdout.write(piece, () => resolve()));
            }
          } finally {
            await target?.close();
          }
          if (file !== undefined) context.output.say(`${file}: ${formatBytes(bytes)}`);
        }),
    );
}
