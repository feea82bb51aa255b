/** apply, plan, delete: manifests from files. The server reads the text, so that its errors know the lines. */
import type { ApplyResult, Client } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { kindWord } from '../names.ts';
import { timeoutOption } from '../option-values.ts';
import { readTextFile } from '../read-file.ts';
import { describePending, GOES_ON, isReady, waitForWorkloads } from '../wait.ts';

interface FileOptions {
  readonly file: string[];
  readonly wait?: boolean;
  readonly timeout: number;
}
type Request = (client: Client, text: string) => Promise<ApplyResult>;

/** Sends each file in turn; an error names its file and the ones that were done before it. */
async function sendFiles(
  context: Context,
  client: Client,
  files: readonly string[],
  request: Request,
): Promise<ApplyResult> {
  const texts = files.map((file) => ({ file, text: readTextFile(file) }));
  const results: ApplyResult[] = [];
  for (const { file, text } of texts) {
    try {
      results.push(await request(client, text));
    } catch (error) {
      if (results.length > 0)
        context.output.say(`done before the error: ${files.slice(0, results.length).join(', ')}`);
      if (!(error instanceof SkerryError)) throw error;
      throw new SkerryError(error.code, error.message, {
        cause: error.cause,
        details: { ...error.details, file },
      });
    }
  }
  return { ...results.at(-1)!, documents: results.flatMap((result) => result.documents) };
}

function describe(result: ApplyResult): string {
  return result.documents
    .flatMap((document) => [
      `${kindWord(document.kind)}/${document.name} ${document.outcome}`,
      ...document.steps.flatMap((step) => [
        `  ${step.action.padEnd(8)} ${step.text}`,
        ...(step.why ?? []).map((line) => `           ${line}`),
      ]),
    ])
    .join('\n');
}

function workloadsByProject(result: ApplyResult): Map<string, string[]> {
  const projects = new Map<string, string[]>();
  for (const { kind, project, name } of result.documents) {
    if (kind !== 'Workload') continue;
    const of = project ?? 'default';
    projects.set(of, [...(projects.get(of) ?? []), name]);
  }
  return projects;
}

export function registerApply(program: Command, context: Context): void {
  const collect = (value: string, before: string[] = []) => [...before, value];
  const manifestCommand = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .requiredOption('-f, --file <path>', 'manifest, or - for standard input; may be repeated', collect);
  const query = () => ({ project: context.project });

  manifestCommand('apply', 'make all that the manifest describes, or none of it')
    .option('--wait', 'wait until the workloads are ready')
    .addOption(timeoutOption('for --wait', '2m'))
    .action(async (options: FileOptions) => {
      await context.withClient(async (client) => {
        const result = await sendFiles(context, client, options.file, (c, body) =>
          c.apply({ ...query(), body }),
        );
        if (options.wait) {
          for (const [project, names] of workloadsByProject(result)) {
            const progress = context.progress(`waiting for ${names.join(', ')}`, GOES_ON);
            const ready = (all: ReadonlyMap<string, Parameters<typeof isReady>[0]>) =>
              names.every((name) => isReady(all.get(name)));
            await waitForWorkloads(client, project, ready, describePending(names), {
              limitMs: options.timeout,
              onChange: progress.update,
            }).finally(progress.end);
          }
        }
        await context.output.one(result, describe);
      });
    });

  manifestCommand('plan', 'show the steps that apply would take, and take none').action(
    async (options: FileOptions) => {
      await context.withClient(async (client) => {
        const result = await sendFiles(context, client, options.file, (c, body) =>
          c.apply({ ...query(), dryRun: true, body }),
        );
        await context.output.one(result, describe);
      });
    },
  );

  manifestCommand('delete', 'delete what the manifest names, and wait until it is gone')
    .option('--no-wait', 'do not wait')
    .addOption(timeoutOption('how long to wait', '2m'))
    .action(async (options: FileOptions) => {
      await context.withClient(async (client) => {
        const result = await sendFiles(context, client, options.file, (c, body) =>
          c.delete({ ...query(), body }),
        );
        for (const [project, names] of options.wait ? workloadsByProject(result) : []) {
          await waitUntilGone(context, client, project, names, options.timeout);
        }
        await context.output.one(result, describe);
      });
    });
}

/** Waits until none of the workloads exists; a project that went with them counts as gone. */
export async function waitUntilGone(
  context: Context,
  client: Client,
  project: string,
  names: readonly string[],
  limitMs: number,
): Promise<void> {
  const progress = context.progress(`deleting ${names.join(', ')}`, GOES_ON);
  const left = (all: ReadonlyMap<string, unknown>) => names.filter((name) => all.has(name));
  try {
    await waitForWorkloads(
      client,
      project,
      (all) => left(all).length === 0,
      (all) => `still there: ${left(all).join(', ')}`,
      { limitMs, onChange: progress.update },
    );
  } catch (error) {
    if (!(error instanceof SkerryError && error.code === 'not_found')) throw error;
  } finally {
    progress.end();
  }
}
