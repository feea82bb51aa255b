/** operation: long-running requests; they go on when the terminal is closed. */
import type { Client } from '@skerry/contract';
import { ERRORS, type ErrorCode, type Operation, SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { type Column, formatTable } from '../terminal/table.ts';

const percent = (progress: number | undefined) =>
  progress === undefined ? undefined : `${Math.round(progress * 100)}%`;

const COLUMNS: Column<Operation>[] = [
  { title: 'OPERATION', value: (row) => row.metadata.name },
  { title: 'ACTION', value: (row) => row.spec.action },
  { title: 'TARGET', value: (row) => row.spec.target },
  { title: 'PHASE', value: (row) => row.status.phase },
  { title: 'PROGRESS', value: (row) => percent(row.status.progress), right: true },
  { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
  { title: 'ERROR', value: (row) => row.status.error?.message ?? '' },
];

/** Waits for the end of an operation. Errors: the operation's own. */
export async function followOperation(context: Context, client: Client, name: string): Promise<Operation> {
  const stop = new AbortController();
  const progress = context.progress(`operation ${name}`);
  try {
    for await (const message of client.watch('operation.list', {}, { signal: stop.signal })) {
      if (message.type !== 'put' || message.object.metadata.name !== name) continue;
      const { status, spec } = message.object;
      progress.update(
        [spec.action, spec.target, status.step, percent(status.progress)].filter(Boolean).join(' '),
      );
      if (status.phase === 'done') return message.object;
      if (status.phase === 'failed' || status.phase === 'cancelled') {
        const code = status.error?.code ?? 'cancelled';
        throw new SkerryError(
          code in ERRORS ? (code as ErrorCode) : 'internal',
          status.error?.message ?? `operation ${name} was cancelled`,
        );
      }
    }
  } finally {
    stop.abort();
    progress.end();
  }
  throw new SkerryError('unavailable', `the watch of operation ${name} ended`);
}

export function registerOperation(program: Command, context: Context): void {
  const operation = program.command('operation').alias('operations').description('long-running requests');
  operation
    .command('list')
    .description('operations, also those that ended')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.operation.list();
        await context.output.list(items, COLUMNS, 'no operations');
      }),
    );
  operation
    .command('show')
    .description('one operation')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.operation.show({ name });
        await context.output.one(found, (value) => formatTable([value], COLUMNS));
      }),
    );
  operation
    .command('cancel')
    .description('end an operation; what it did is undone')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        await client.operation.cancel({ name });
        await context.output.done(
          { kind: 'Operation', name, outcome: 'cancelled' },
          `operation/${name} cancelled`,
        );
      }),
    );
}
