/** event: what happened, in order. */
import type { Event } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { kindWord } from '../names.ts';
import { countOption } from '../option-values.ts';
import { type Column, formatTable } from '../terminal/table.ts';

const COLUMNS: Column<Event>[] = [
  { title: 'SEQ', value: (row) => row.sequence, right: true },
  { title: 'AT', value: (row) => row.at },
  { title: 'TYPE', value: (row) => row.type },
  { title: 'REASON', value: (row) => row.reason },
  { title: 'ABOUT', value: (row) => `${kindWord(row.about.kind)}/${row.about.name}` },
  { title: 'MESSAGE', value: (row) => row.message },
];

interface EventOptions {
  readonly since?: number;
  readonly name?: string;
  readonly kind?: string;
}

export function registerEvent(program: Command, context: Context): void {
  const event = program.command('event').alias('events').description('what happened');
  const filters = (command: Command) =>
    command
      .option('--since <sequence>', 'only those after this number', countOption)
      .option('--name <name>', 'only about this resource')
      .option('--kind <kind>', 'only about this kind, such as Instance');
  const query = ({ since, name, kind }: EventOptions) => ({
    ...(since === undefined ? {} : { since }),
    ...(name === undefined ? {} : { name }),
    ...(kind === undefined ? {} : { kind }),
  });

  filters(event.command('list').description('events that are kept, oldest first')).action(
    (options: EventOptions) =>
      context.withClient(async (client) => {
        const { items } = await client.event.list(query(options));
        await context.output.list(items, COLUMNS, 'no events');
      }),
  );

  filters(event.command('watch').description('events as they come')).action((options: EventOptions) =>
    context.withClient(async (client) => {
      const stop = new AbortController();
      process.once('SIGINT', () => stop.abort());
      let heading = true;
      for await (const message of client.watch('event.list', query(options), { signal: stop.signal })) {
        if (message.type !== 'put') continue;
        await context.output.each(message.object, (one) => {
          const text = formatTable([one], COLUMNS);
          return heading ? text : text.split('\n')[1]!;
        });
        heading = false;
      }
    }),
  );
}
