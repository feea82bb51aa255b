/** workload logs, exec, console: what flows. A terminal is put into raw mode and always put back. */
import type { TerminalSession } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { countOption } from '../option-values.ts';

/** A terminal over a serial line or in a script may say that it has no size: 80 by 24 then, as of old. */
const sizeOf = ({ columns, rows }: NodeJS.WriteStream) => ({ columns: columns || 80, rows: rows || 24 });

const LEAVE = 0x1d; // Ctrl-]

/** Joins this terminal and the session until the session ends, or Ctrl-] where `leavable`. Returns the exit code. */
async function join(
  session: TerminalSession,
  options: { terminal: boolean; leavable: boolean; input: boolean },
): Promise<number> {
  const { stdin, stdout, stderr } = process;
  let left = false;
  const onInput = (data: Buffer) => {
    if (options.leavable && data.includes(LEAVE)) {
      left = true;
      session.close();
    } else session.write(data);
  };
  const onResize = () => {
    const { columns, rows } = sizeOf(stdout);
    session.resize(columns, rows);
  };
  if (options.terminal && stdin.isTTY) stdin.setRawMode(true);
  if (options.terminal && stdout.isTTY) stdout.on('resize', onResize);
  if (options.input) {
    stdin.on('data', onInput);
    stdin.on('end', () => session.closeInput());
    stdin.resume();
  } else session.closeInput();
  try {
    for await (const { stream, data } of session.output) (stream === 'stderr' ? stderr : stdout).write(data);
    return left ? 0 : await session.exit;
  } catch (error) {
    if (left) return 0;
    throw error;
  } finally {
    stdin.off('data', onInput);
    stdout.off('resize', onResize);
    if (options.terminal && stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
    session.close();
  }
}

export function registerWorkloadStreams(workload: Command, context: Context): void {
  const ofInstance = (instance: string | undefined) => (instance === undefined ? {} : { instance });

  workload
    .command('logs')
    .description('what a workload wrote')
    .argument('<name>')
    .option('-f, --follow', 'go on as more comes')
    .option('-p, --previous', 'of the run before: the last words of one that was started again')
    .option('-n, --tail <lines>', 'only the last lines', countOption)
    .option('--instance <name>', 'which instance; the first that runs')
    .option('-t, --timestamps', 'with the time of each line')
    .action(
      (
        name: string,
        options: {
          follow?: boolean;
          previous?: boolean;
          tail?: number;
          instance?: string;
          timestamps?: boolean;
        },
      ) =>
        context.withClient(async (client) => {
          if (options.follow && options.previous)
            throw new SkerryError(
              'request_invalid',
              '--follow does not go with --previous: that run is over, leave one of them out',
            );
          const stop = new AbortController();
          process.once('SIGINT', () => stop.abort());
          const input = {
            project: context.project,
            name,
            ...ofInstance(options.instance),
            ...(options.follow ? { follow: true } : {}),
            ...(options.previous ? { previous: true } : {}),
            ...(options.tail === undefined ? {} : { tail: options.tail }),
          };
          for await (const line of client.workload.logs(input, { signal: stop.signal })) {
            await context.output.each(line, ({ atMs, text }) =>
              options.timestamps ? `${new Date(atMs).toISOString()} ${text}\n` : `${text}\n`,
            );
          }
        }),
    );

  workload
    .command('exec')
    .description('run a command in a workload, and end with its exit code')
    .argument('<name>')
    .argument('<command...>')
    .option('-t, --terminal', 'with a terminal')
    .option('-i, --input', 'hand standard input on')
    .option('--instance <name>', 'which instance; the first that runs')
    .action(
      (
        name: string,
        command: string[],
        options: { terminal?: boolean; input?: boolean; instance?: string },
      ) =>
        context.withClient(async (client) => {
          const terminal = options.terminal === true;
          const session = await client.workload.exec({
            project: context.project,
            name,
            command,
            terminal,
            ...(terminal && process.stdout.isTTY ? sizeOf(process.stdout) : {}),
            ...ofInstance(options.instance),
          });
          process.exitCode = await join(session, {
            terminal,
            leavable: false,
            input: terminal || options.input === true,
          });
        }),
    );

  workload
    .command('console')
    .description('serial console; leave it with Ctrl-]')
    .argument('<name>')
    .option('--instance <name>', 'which instance; the first that runs')
    .action((name: string, options: { instance?: string }) =>
      context.withClient(async (client) => {
        const session = await client.workload.console({
          project: context.project,
          name,
          ...ofInstance(options.instance),
        });
        process.stderr.write('Connected; leave with Ctrl-]\n');
        process.exitCode = await join(session, { terminal: true, leavable: true, input: true });
      }),
    );
}
