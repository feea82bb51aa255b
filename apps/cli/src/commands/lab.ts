/** lab: an edge emulated on this machine, with real agents, real guests and real packets. */
import { resolve } from 'node:path';
import type { LabFolder, VerbOptions } from '@skerry/lab';
import { formatMillis } from '@skerry/model';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { bandwidthOption, durationOption, lossOption, timeoutOption } from '../option-values.ts';
import { describePending, isReady, waitForWorkloads } from '../wait.ts';

interface LabOptions {
  readonly labs: string;
  readonly lab?: string;
}

export function registerLab(program: Command, context: Context): void {
  const lab = program
    .command('lab')
    .alias('labs')
    .description('an edge emulated on this machine: real agents, real guests, real packets')
    .addOption(
      new Option('--labs <dir>', 'where labs lie').env('SKERRY_LABS').default('/var/lib/skerry-labs'),
    )
    .addOption(new Option('--lab <name>', 'which lab, where several are up').env('SKERRY_LAB'));
  const options = () => lab.opts<LabOptions>();
  const labsDir = () => resolve(options().labs);
  const labName = () => options().lab || undefined; // an empty variable names none

  /** Runs `use` on the lab that is meant, with short programs started quickly. */
  async function onLab<T>(
    use: (verb: VerbOptions, room: typeof import('@skerry/lab')) => Promise<T>,
  ): Promise<T> {
    const room = await import('@skerry/lab');
    const folder = room.chooseLab(labsDir(), labName());
    return withTools((programs) => use({ folder, programs, signal: new AbortController().signal }, room));
  }

  lab
    .command('up')
    .description('make the lab of a file, or mend the one that is there')
    .argument(
      '<file>',
      'a Lab, with its Sites, AccessPoints, Links and Clients, and whatever else is to be applied',
    )
    .option('--wait', 'wait until the workloads are ready')
    .addOption(timeoutOption('for --wait', '2m'))
    .action(async (file: string, { wait, timeout }: { wait?: boolean; timeout: number }) => {
      const room = await import('@skerry/lab');
      const progress = context.progress('reading the file');
      const begun = performance.now();
      const folder = await withTools((programs) => {
        const signal = new AbortController().signal;
        return room.labUp({ labsDir: labsDir(), file, programs, signal, onStep: progress.update });
      }).finally(progress.end);
      if (wait) await waitForAll(context, room.controllerDataDir(folder), timeout);
      const { name, id } = room.requireLab(folder);
      const tookMs = performance.now() - begun;
      await context.output.done(
        { name, id, tookMs, controllerDataDir: room.controllerDataDir(folder) },
        `the lab ${name} is up after ${formatMillis(tookMs)}; its controller: skerry --data ${room.controllerDataDir(folder)}`,
      );
    });

  lab
    .command('list')
    .description('labs of this machine')
    .action(async () => {
      const room = await import('@skerry/lab');
      const rows = room.listLabs(labsDir()).map((name) => {
        const folder = room.labFolder(labsDir(), name);
        const state = room.readLab(folder);
        return { name, id: state?.id, folder: folder.path, nodes: state?.plan.machines.length };
      });
      await context.output.list(
        rows,
        [
          { title: 'NAME', value: (row) => row.name },
          { title: 'ID', value: (row) => row.id ?? '(half made)' },
          { title: 'MACHINES', value: (row) => row.nodes, right: true },
          { title: 'FOLDER', value: (row) => row.folder },
        ],
        'no labs',
      );
    });

  lab
    .command('down')
    .description('end the lab and remove everything of it')
    .action(async () => {
      const room = await import('@skerry/lab');
      const name = labName();
      const known = room.listLabs(labsDir());
      if (known.length === 0 || (name !== undefined && !known.includes(name)))
        return context.output.done(
          { removed: [] },
          name === undefined ? 'no lab is up' : `there is no lab ${name}`,
        );
      await onLab(async ({ folder, signal }) => {
        const progress = context.progress('removing everything');
        await room.labDown({ folder, signal }).finally(progress.end);
        await context.output.done({ removed: [folder.path] }, `removed all of ${folder.path}`);
      });
    });

  lab
    .command('status')
    .description('a picture of the lab: places, links, clients, nodes and their instances')
    .action(() =>
      onLab(async ({ folder }, room) => {
        const view = await room.lookAtLab(folder);
        const { plan, ...rest } = view;
        const json = {
          ...{ name: rest.name, id: rest.id, controllerAnswers: rest.controllerAnswers },
          subnet: plan.subnet,
          links: rest.wires.map((wire) => ({ ...wire, cut: rest.cuts.get(wire.name) ?? null })),
          clients: plan.clients.map(({ name, address }) => ({
            ...{ name, address, attachedTo: rest.attached.get(name) ?? null },
          })),
          machines: plan.machines.map(({ name, site, address }) => ({
            ...{ site, address, ...rest.machines.get(name)! },
          })),
        };
        await context.output.one(json, () => `${view.name} (${view.id})\n${room.drawLab(view)}`);
      }),
    );

  lab
    .command('exec')
    .description('run a command on a client or a node, or in the network of a site or access point')
    .argument('<name>')
    .argument('<command...>')
    .action((name: string, command: string[]) =>
      onLab(async ({ folder }, room) => {
        const [file, args] = room.execWords(folder, name, command);
        const { runInForeground } = await import('@skerry/host');
        const { TERM, HOME, LANG } = process.env;
        const own = Object.entries({ TERM, HOME, LANG }).filter(([, value]) => value !== undefined);
        process.exitCode = await runInForeground(
          file,
          args,
          Object.fromEntries(own) as Record<string, string>,
        );
      }),
    );

  lab
    .command('move')
    .description('a handover: the client comes through another access point, and keeps its address')
    .argument('<client>')
    .argument('<access-point>')
    .action((client: string, accessPoint: string) =>
      onLab(async (verb, room) => {
        const moved = await room.moveClient(verb, client, accessPoint);
        await context.output.one(
          { client, accessPoint, ...moved },
          () =>
            `${client} is at ${accessPoint}, switched within ${formatMillis(moved.switchedMs)}${moved.controllerTold ? '' : '; the controller does not answer and was not told'}`,
        );
      }),
    );

  const onLink = (name: string, about: string) => lab.command(name).description(about).argument('<link>');
  onLink('cut', 'packets stop at once; the routers turn to other ways')
    .option('--from <end>', 'drop only what comes from this end, and route as before: a half-open partition')
    .action((link: string, { from }: { from?: string }) =>
      onLab(async (verb, room) => {
        await room.cutLink(verb, link, from);
        await context.output.done(
          { link, state: 'cut', from: from ?? null },
          from === undefined ? `${link} is cut` : `${link} carries nothing from ${from}`,
        );
      }),
    );
  onLink('heal', 'the link carries packets again').action((link: string) =>
    onLab(async (verb, room) => {
      await room.healLink(verb, link);
      await context.output.done({ link, state: 'whole' }, `${link} is whole`);
    }),
  );
  onLink('change', 'another latency, bandwidth or loss, while packets go')
    .option('--latency <duration>', 'one way', durationOption)
    .option('--bandwidth <rate>', 'such as 100Mbit', bandwidthOption)
    .option('--loss <share>', 'such as 0.3 or 30%', lossOption)
    .action((link: string, wish: { latency?: number; bandwidth?: number; loss?: number }) =>
      onLab(async (verb, room) => {
        await room.changeLink(verb, link, {
          ...(wish.latency === undefined ? {} : { latencyMs: wish.latency }),
          ...(wish.bandwidth === undefined ? {} : { bandwidthBps: wish.bandwidth }),
          ...(wish.loss === undefined ? {} : { loss: wish.loss }),
        });
        await context.output.done({ link, ...wish }, `${link} is changed`);
      }),
    );

  lab
    .command('crash')
    .description(
      'a power cut: agent, engines and guests of the node end at once; `controller` is one of them',
    )
    .argument('<node>')
    .action((node: string) =>
      onLab(async (verb, room) => {
        await room.crashNode(verb, node);
        await context.output.done({ node, power: false }, `${node} has no power`);
      }),
    );
  lab
    .command('start')
    .description('give a node its power back')
    .argument('<node>')
    .action((node: string) =>
      onLab(async (verb, room) => {
        await room.startNode(verb, node);
        await context.output.done({ node, power: true }, `${node} is on`);
      }),
    );
}

async function withTools<T>(use: (programs: VerbOptions['programs']) => Promise<T>): Promise<T> {
  const { builtPath, programPath } = await import('../server/layout.ts');
  const { launchThrough } = await import('@skerry/host');
  const close = launchThrough(builtPath('launcher'));
  try {
    return await use({
      link: builtPath('labLink'),
      machine: builtPath('labMachine'),
      skerry: [process.execPath, programPath()],
    });
  } finally {
    close();
  }
}

/** Until the workloads of every project are ready. */
async function waitForAll(context: Context, dataDir: LabFolder['path'], limitMs: number): Promise<void> {
  const { createClient } = await import('@skerry/contract');
  const client = createClient({ socketPath: `${dataDir}/api.sock` });
  const progress = context.progress('waiting for workloads');
  try {
    const { items } = await client.project.list();
    for (const { metadata } of items) {
      const names = (await client.workload.list({ project: metadata.name })).items.map(
        (one) => one.metadata.name,
      );
      if (names.length === 0) continue;
      await waitForWorkloads(
        client,
        metadata.name,
        (all) => names.every((name) => isReady(all.get(name))),
        describePending(names),
        { limitMs, onChange: progress.update },
      );
    }
  } finally {
    progress.end();
    await client.close();
  }
}
