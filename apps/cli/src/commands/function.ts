/** function: a JavaScript or TypeScript function as a guest with its own kernel. */
import { basename } from 'node:path';
import { countsOf, SkerryError, type Workload } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { portOption, sizeOption, someOption, timeoutOption } from '../option-values.ts';
import { readTextFile } from '../read-file.ts';
import { describePending, GOES_ON, isReady, waitForWorkloads } from '../wait.ts';

/** Errors of the source name the user's file. */
export async function withFile<T>(file: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
    throw new SkerryError(error.code, error.message, {
      cause: error.cause,
      details: { ...error.details, file },
    });
  }
}

export function registerFunction(program: Command, context: Context): void {
  const command = program
    .command('function')
    .alias('functions')
    .description('JavaScript and TypeScript functions, each its own kernel');

  command
    .command('create')
    .description('make a workload of a function')
    .argument('<name>')
    .requiredOption('--from <file>', 'source: .js or .ts')
    .option('--replicas <count>', 'instances', someOption)
    .option('--memory <size>', 'memory of each guest, such as 16MiB', sizeOption)
    .option('--publish <port>', 'a port of the node that leads to it', portOption)
    .option('--wait', 'wait until it is ready')
    .addOption(timeoutOption('for --wait', '1m'))
    .action(
      (
        name: string,
        options: {
          from: string;
          replicas?: number;
          memory?: string;
          publish?: number;
          wait?: boolean;
          timeout: number;
        },
      ) =>
        context.withClient(async (client) => {
          const source = readTextFile(options.from);
          const { replicas, memory, publish } = options;
          const body = {
            name,
            source,
            filename: basename(options.from),
            ...(replicas === undefined ? {} : { replicas }),
            ...(memory === undefined ? {} : { memory }),
            ...(publish === undefined ? {} : { publish }),
          };
          const made = await withFile(options.from, () =>
            client.function.create({ project: context.project, body }),
          );
          if (options.wait) {
            const progress = context.progress(`starting ${name}`, GOES_ON);
            await waitForWorkloads(
              client,
              context.project,
              (all) => isReady(all.get(name)),
              describePending([name]),
              {
                limitMs: options.timeout,
                onChange: progress.update,
              },
            ).finally(progress.end);
          }
          await context.output.one(made, () => `function/${name} created`);
        }),
    );

  command
    .command('list')
    .description('functions of the project')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.function.list({ project: context.project });
        await context.output.list<Workload>(
          items,
          [
            { title: 'NAME', value: (row) => row.metadata.name },
            { title: 'READY', value: (row) => `${countsOf(row).ready}/${countsOf(row).wanted}` },
            { title: 'IMAGE', value: (row) => row.status.imageDigest?.slice(0, 19) },
            { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
          ],
          `no functions in project ${context.project}`,
        );
      }),
    );

  command
    .command('logs')
    .description('what a function wrote')
    .argument('<name>')
    .option('-f, --follow', 'go on as more comes')
    .option('-p, --previous', 'of the run before: the last words of one that was started again')
    .action(async (name: string, options: { follow?: boolean; previous?: boolean }) => {
      const given = (['follow', 'previous'] as const).filter((option) => options[option]);
      const words = ['workload', 'logs', name, ...given.map((option) => `--${option}`)];
      await program.parseAsync(words, { from: 'user' });
    });
}
