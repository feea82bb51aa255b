/** workload pause, resume, snapshot(s), restore, forget, grow, memory, display, screenshot: what is done to one guest while it is there. */
import { writeFileSync } from 'node:fs';
import type { Client } from '@skerry/contract';
import { formatBytes, SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';

interface OfInstance {
  readonly instance?: string;
}

/** The workload's only instance, or the one that was named. Errors: not_found, request_invalid (there are several). */
async function instanceOf(
  client: Client,
  project: string,
  workload: string,
  { instance }: OfInstance,
): Promise<{ project: string; name: string }> {
  if (instance !== undefined) return { project, name: instance };
  const { items } = await client.instance.list({ project, workload });
  const [only, ...more] = items.map(({ metadata }) => metadata.name);
  if (only === undefined) {
    await client.workload.show({ project, name: workload }); // tells that it is not there
    throw new SkerryError('not_found', `the workload ${workload} has no instance`);
  }
  if (more.length > 0)
    throw new SkerryError(
      'request_invalid',
      `${workload} has several instances: say which with --instance ${[only, ...more].join(' | ')}`,
    );
  return { project, name: only };
}

export function registerWorkloadGuest(workload: Command, context: Context): void {
  const INSTANCE = ['--instance <name>', 'which instance, where there are several'] as const;
  type At = { project: string; name: string };
  const withGuest = (name: string, options: OfInstance, work: (client: Client, at: At) => Promise<void>) =>
    context.withClient(async (client) =>
      work(client, await instanceOf(client, context.project, name, options)),
    );

  const hold = (verb: 'pause' | 'resume', description: string, said: string) =>
    workload
      .command(verb)
      .description(description)
      .argument('<name>')
      .option(...INSTANCE)
      .action((name: string, options: OfInstance) =>
        withGuest(name, options, async (client, at) => {
          await client.instance[verb](at);
          await context.output.done({ instance: at.name, outcome: said }, `instance/${at.name} ${said}`);
        }),
      );
  hold('pause', 'let a guest hold still; it keeps its memory', 'paused');
  hold('resume', 'let a guest that holds still go on', 'goes on');

  workload
    .command('snapshots')
    .description('what a guest can be put back to')
    .argument('<name>')
    .option(...INSTANCE)
    .action((name: string, options: OfInstance) =>
      withGuest(name, options, async (client, at) => {
        const { items } = await client.instance.snapshots(at);
        await context.output.list(
          items,
          [
            { title: 'SNAPSHOT', value: (row) => row.name },
            { title: 'TAKEN', value: (row) => new Date(row.takenAtMs).toISOString() },
            { title: 'SIZE', value: (row) => formatBytes(row.sizeBytes), right: true },
            { title: 'MEMORY', value: (row) => (row.withMemory ? 'with' : 'without') },
            { title: 'FILE SYSTEMS', value: (row) => (row.frozen ? 'held still' : '') },
          ],
          `no snapshots of ${at.name}`,
        );
      }),
    );
  workload
    .command('snapshot')
    .description('keep the disk under a name, and the memory where it runs')
    .argument('<name>')
    .argument('<snapshot>')
    .option(...INSTANCE)
    .action((name: string, snapshotName: string, options: OfInstance) =>
      withGuest(name, options, async (client, at) => {
        const taken = await client.instance.snapshot({ ...at, body: { name: snapshotName } });
        const disk = taken.frozen ? 'disk (file systems held still)' : 'disk';
        const what = taken.withMemory ? `${disk} and memory` : disk;
        await context.output.done(
          { instance: at.name, ...taken },
          `instance/${at.name} snapshot ${taken.name} taken: ${what}, ${formatBytes(taken.sizeBytes)}`,
        );
      }),
    );
  const use = (verb: 'restore' | 'forget', description: string, said: string) =>
    workload
      .command(verb)
      .description(description)
      .argument('<name>')
      .argument('<snapshot>')
      .option(...INSTANCE)
      .action((name: string, snapshotName: string, options: OfInstance) =>
        withGuest(name, options, async (client, at) => {
          await client.instance[verb]({ ...at, snapshot: snapshotName });
          await context.output.done(
            { instance: at.name, snapshot: snapshotName, outcome: said },
            `instance/${at.name} snapshot ${snapshotName} ${said}`,
          );
        }),
      );
  use('restore', 'put a guest back to a snapshot; what came after is lost', 'restored');
  use('forget', 'delete a snapshot of a guest', 'deleted');

  workload
    .command('grow')
    .description('make the disk of a guest larger, while it runs too')
    .argument('<name>')
    .argument('<size>', 'such as 20GiB')
    .option(...INSTANCE)
    .action((name: string, disk: string, options: OfInstance) =>
      withGuest(name, options, async (client, at) => {
        await client.instance.grow({ ...at, body: { disk } });
        await context.output.done({ instance: at.name, disk }, `instance/${at.name} has a disk of ${disk}`);
      }),
    );
  workload
    .command('memory')
    .description('what a running guest may use of its memory (balloon)')
    .argument('<name>')
    .argument('<size>', 'such as 512MiB; at most what the manifest gives it')
    .option(...INSTANCE)
    .action((name: string, memory: string, options: OfInstance) =>
      withGuest(name, options, async (client, at) => {
        await client.instance.memory({ ...at, body: { memory } });
        await context.output.done({ instance: at.name, memory }, `instance/${at.name} may use ${memory}`);
      }),
    );
  workload
    .command('display')
    .description('the socket on which the screen of a guest is to be seen (VNC)')
    .argument('<name>')
    .option(...INSTANCE)
    .action((name: string, options: OfInstance) =>
      withGuest(name, options, async (client, at) => {
        const shown = await client.instance.display(at);
        await context.output.one(shown, ({ node, socket }) => `${socket} on ${node}`);
      }),
    );
  workload
    .command('screenshot')
    .description('the screen of a guest as a PNG file')
    .argument('<name>')
    .requiredOption('--to <file>', 'where to write it')
    .option(...INSTANCE)
    .action((name: string, options: OfInstance & { to: string }) =>
      withGuest(name, options, async (client, at) => {
        const { base64 } = await client.instance.screenshot(at);
        writeFileSync(options.to, Buffer.from(base64, 'base64'));
        await context.output.done(
          { instance: at.name, file: options.to },
          `instance/${at.name} its screen is in ${options.to}`,
        );
      }),
    );
}
