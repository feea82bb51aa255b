/** rebalance: what would be nearer to its clients elsewhere; with --apply, it moves there. */

import type { Rebalance } from '@skerry/contract';
import { formatMillis } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { Column } from '../terminal/table.ts';

type Row = Rebalance['moves'][number];
const COLUMNS: Column<Row>[] = [
  { title: 'INSTANCE', value: (row) => row.key },
  { title: 'FROM', value: (row) => row.from },
  { title: 'TO', value: (row) => row.to },
  { title: 'LATENCY', value: (row) => formatMillis(row.fromLatencyMs), right: true },
  { title: 'THEN', value: (row) => formatMillis(row.toLatencyMs), right: true },
  { title: 'GAIN', value: (row) => formatMillis(row.gain), right: true },
  { title: 'COST', value: (row) => formatMillis(row.cost), right: true },
  { title: 'BECAUSE', value: (row) => row.because ?? '' },
];

export function registerRebalance(program: Command, context: Context): void {
  program
    .command('rebalance')
    .description('what would be nearer to its clients elsewhere, with the gain and the cost of each move')
    .option('--apply', 'make the moves; another instance serves before one goes')
    .action(({ apply }: { apply?: boolean }) =>
      context.withClient(async (client) => {
        const found = apply ? await client.rebalance.apply() : await client.rebalance.plan();
        if (context.output.format !== 'table') return context.output.one(found, () => '');
        await context.output.list(found.moves, COLUMNS, 'nothing would be better off elsewhere');
        for (const { key, to, text } of found.held)
          context.output.say(`${key} stays rather than go to ${to}: ${text}`);
      }),
    );
}
