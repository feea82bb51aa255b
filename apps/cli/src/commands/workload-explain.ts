/** workload explain: for every node why an instance is there, or why not. */
import type { PlacementExplanation } from '@skerry/contract';
import type { SiteReplicas } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { Column } from '../terminal/table.ts';

type Row = PlacementExplanation['nodes'][number];
const ms = (value: number | undefined) => (value === undefined ? '-' : `${Number(value.toFixed(2))}ms`);

function columnsOf({ near }: PlacementExplanation): Column<Row>[] {
  const latency: Column<Row>[] = [
    { title: 'LATENCY', value: (row) => ms(row.latencyMs), right: true },
    { title: 'FARTHEST', value: (row) => ms(row.worstLatencyMs), right: true },
  ];
  return [
    { title: 'NODE', value: (row) => row.node },
    { title: 'SITE', value: (row) => row.site },
    ...(near.length > 0 ? latency : []),
    { title: 'NOW', value: (row) => (row.current ? 'here' : '') },
    { title: 'WOULD', value: (row) => (row.chosen ? 'be chosen' : row.fits ? 'do' : 'not do') },
    { title: 'WHY NOT', value: (row) => row.reasons.map(({ text }) => text).join('; ') },
  ];
}

/** What is wanted and ready at a site, in words. */
export const describeSite = ({ site, wanted, ready, unwantedSince }: SiteReplicas): string =>
  unwantedSince === undefined
    ? `${site}: ${ready} of ${wanted} ready`
    : `${site}: nobody wants it there since ${unwantedSince}, ${ready} still there`;

export function registerWorkloadExplain(workload: Command, context: Context): void {
  workload
    .command('explain')
    .description('why an instance is where it is: for every node, with its latency')
    .argument('<name>')
    .option('--instance <name>', 'which instance; the first')
    .action((name: string, { instance }: { instance?: string }) =>
      context.withClient(async (client) => {
        const found = await client.workload.explain({
          ...{ project: context.project, name },
          ...(instance === undefined ? {} : { instance }),
        });
        if (context.output.format !== 'table') return context.output.one(found, () => '');
        const near = found.near.map(({ accessPoint, weight }) => `${accessPoint} (${weight})`).join(', ');
        context.output.say(`${found.instance}: ${found.text}`);
        for (const site of found.sites ?? []) context.output.say(`at site ${describeSite(site)}`);
        if (near !== '') context.output.say(`near ${near}`);
        await context.output.list(found.nodes, columnsOf(found), 'there is no node');
      }),
    );
}
