/** up, controller, agent, down, status: the program itself on this machine. */
import { isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import { formatBytes, formatMillis, SkerryError } from '@skerry/model';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Context } from '../context.ts';
import { durationOption, someOption, timeoutOption } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { INSTANCE_COLUMNS } from './workload.ts';

interface UpOptions {
  readonly listen?: string;
  readonly detach?: boolean;
  readonly engine?: string;
  readonly docker?: string;
  readonly sim?: boolean;
  readonly alone?: boolean;
  readonly join?: string;
  readonly name?: string;
  readonly lostAfter?: number;
  readonly underlay?: string;
  readonly access?: readonly string[];
  readonly network?: readonly { readonly name: string; readonly bridge: string }[];
  readonly devices?: readonly string[];
  readonly deviceBroker?: string;
  readonly deviceBrokerCredentials?: string;
  readonly deviceBrokerTopics?: string;
  readonly accessInterface?: readonly { readonly interface: string; readonly accessPoint: string }[];
}

const ENGINE_HELP =
  'what containers are on: `docker[:SOCKET]`, `podman[:SOCKET]`, the system’s `containerd:SOCKET`; default: a containerd of its own';

const ipv4 = (text: string): string => {
  if (isIPv4(text)) return text;
  throw new InvalidArgumentError('it must be an IPv4 address');
};
const underlay = () =>
  new Option(
    '--underlay <address>',
    'where other nodes reach this one; default: the address that the default route leaves by',
  ).argParser(ipv4);
const access = () =>
  new Option(
    '--access <address>',
    'an address of this machine at which clients ask for the names of services; may be given several times',
  ).argParser((text: string, before: readonly string[] = []) => [...before, ipv4(text)]);

const network = () =>
  new Option(
    '--network <name=bridge>',
    'virtual machines may have a card on this bridge, by that name in their manifest; may be given several times',
  ).argParser((text: string, before: UpOptions['network'] = []) => {
    const [, name, bridge] = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)=([^\s/=]{1,15})$/.exec(text) ?? [];
    if (name === undefined || bridge === undefined)
      throw new InvalidArgumentError('it must be a name and a bridge, as plant=br-plant');
    if (before.some((one) => one.name === name))
      throw new InvalidArgumentError(`the network ${name} is given twice`);
    return [...before, { name, bridge }];
  });

const devices = () =>
  new Option(
    '--devices <url>',
    'where devices come in: mqtts://HOST:PORT, mqtt://, wss://, https:// or none; may be given several times; default: mqtts://0.0.0.0:8883 and https://0.0.0.0:8884',
  ).argParser((text: string, before: readonly string[] = []) => [...before, text]);

const deviceBroker = () =>
  new Option(
    '--device-broker <url>',
    'devices are connected to this broker, which takes the place of the node’s own: mqtt:// or mqtts://',
  ).argParser((text: string) => {
    if (/^mqtts?:\/\/[^\s@]+$/.test(text)) return text;
    throw new InvalidArgumentError('it must be mqtt://HOST:PORT or mqtts://HOST:PORT, without credentials');
  });
const deviceBrokerCredentials = () =>
  new Option(
    '--device-broker-credentials <file>',
    'a JSON file with `username` and `password` for that broker, and `ca` in PEM where it needs one',
  ).argParser((text: string) => resolve(text));
const deviceBrokerTopics = () =>
  new Option(
    '--device-broker-topics <pattern>',
    'whose a topic of that broker is: %p stands for the project, %d for the device; default: %p/%d/#',
  );

const accessInterface = () =>
  new Option(
    '--access-interface <if=point>',
    'clients that appear at this network interface come through that access point, and are attached there (eth1=tower-1); may be given several times',
  ).argParser((text: string, before: UpOptions['accessInterface'] = []) => {
    // names of interfaces: at most 15 bytes, no slash, no space (Linux, IFNAMSIZ)
    const [, name, accessPoint] = /^([^\s/=]{1,15})=([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/.exec(text) ?? [];
    if (name === undefined || accessPoint === undefined)
      throw new InvalidArgumentError('it must be an interface and an access point, as eth1=tower-1');
    return [...before, { interface: name, accessPoint }];
  });

export function registerServer(program: Command, context: Context): void {
  program
    .command('up')
    .description('run the controller and the agent of this machine in one process')
    .option('--listen <host:port>', 'answer HTTPS there as well, for those with the token')
    .option('--detach', 'go on in the background; returns when it answers')
    .option('--engine <engine>', ENGINE_HELP)
    .option('--docker <socket>', 'short for `--engine docker:SOCKET`')
    .addOption(lostAfter())
    .option('--sim', 'with the sim runtime, for scale tests and development')
    .option('--alone', 'the agent alone, by its ledger: what a node does when its controller is out of reach')
    .addOption(underlay())
    .addOption(access())
    .addOption(accessInterface())
    .addOption(network())
    .addOption(devices())
    .addOption(deviceBroker())
    .addOption(deviceBrokerCredentials())
    .addOption(deviceBrokerTopics())
    .action((options: UpOptions) => serve('up', options));

  program
    .command('controller')
    .description('run the controller alone: its nodes are other machines, each with an agent')
    .requiredOption('--listen <host:port>', 'where agents and users find it, by HTTPS')
    .addOption(lostAfter())
    .option('--detach', 'go on in the background; returns when it answers')
    .action((options: UpOptions) => serve('controller', options));

  program
    .command('agent')
    .description('run guests on this machine for a controller elsewhere')
    .option(
      '--join <token>',
      'the first time: what `skerry node token` printed; `-` reads it from standard input',
    )
    .option('--name <name>', 'the first time: what the node is to be called; default: the machine’s name')
    .option('--detach', 'go on in the background; returns when it has begun')
    .option('--engine <engine>', ENGINE_HELP)
    .option('--docker <socket>', 'short for `--engine docker:SOCKET`')
    .option('--alone', 'by its ledger, without its controller')
    .addOption(underlay())
    .addOption(access())
    .addOption(accessInterface())
    .addOption(network())
    .addOption(devices())
    .addOption(deviceBroker())
    .addOption(deviceBrokerCredentials())
    .addOption(deviceBrokerTopics())
    .addOption(
      new Option('--sim <count>', 'so many simulated nodes, for scale tests and development')
        .argParser(someOption)
        .hideHelp(),
    )
    .action(async (options: Omit<UpOptions, 'sim'> & { sim?: number }) => {
      const { join, sim, ...rest } = options;
      if (sim !== undefined) return simulate(sim, options.name ?? 'sim');
      const token = join === '-' ? (await readStandardInput()).trim() : join;
      await serve('agent', { ...rest, ...(token === undefined ? {} : { join: token }) });
    });

  /** For the controller that other commands would talk to. */
  async function simulate(nodes: number, prefix: string): Promise<void> {
    const { runSimAgents } = await import('../server/sim-agents.ts');
    const progress = context.progress('joining');
    await context.withClient((client) =>
      runSimAgents(
        client,
        {
          ...{ count: nodes, firstNumber: 0, prefix },
          onJoined: (joined) => progress.update(`${joined} of ${nodes} joined`),
        },
        () => {
          progress.end();
          context.output.say(`${nodes} simulated nodes have joined`);
        },
      ),
    );
    // Sockets linger; nothing has to be written.
    process.exit(0);
  }

  async function serve(role: 'up' | 'controller' | 'agent', given: UpOptions): Promise<void> {
    const server = await import('../server/up.ts');
    const { detach, ...rest } = given;
    const options = { ...rest, role };
    if (!detach) return server.runUp(context.dataDir, options);
    const progress = context.progress('starting');
    const { pid, tookMs } = await server.startDetached(context.dataDir, options).finally(progress.end);
    await context.output.done(
      { dataDir: context.dataDir, pid, tookMs },
      `skerry runs on ${context.dataDir} as process ${pid} (answered after ${formatMillis(tookMs)})`,
    );
  }

  program
    .command('down')
    .description('end the program; guests go on, unless --purge')
    .option(
      '--purge',
      'end and remove all guests, images and data too: everything that this data folder put on the machine',
    )
    .option('--yes', 'do not ask')
    .addOption(timeoutOption('how long to wait for the program', '30s'))
    .action(async (options: { purge?: boolean; yes?: boolean; timeout: number }) => {
      const { stop, purge } = await import('../server/down.ts');
      if (options.purge && !options.yes)
        await confirm(`Remove all guests, images and volumes of ${context.dataDir}?`);
      const progress = context.progress(options.purge ? 'removing everything' : 'stopping');
      try {
        const stopped = await stop(context.dataDir, options.timeout);
        if (options.purge) await purge(context.dataDir);
        else if (!stopped) throw new SkerryError('not_running', `Skerry does not run on ${context.dataDir}`);
      } finally {
        progress.end();
      }
      await context.output.done(
        { dataDir: context.dataDir, outcome: options.purge ? 'removed' : 'stopped' },
        options.purge ? `removed all of ${context.dataDir}` : 'stopped; the guests go on',
      );
    });

  program
    .command('status')
    .description('what runs here, in numbers')
    .action(() =>
      context.withClient(async (client) => {
        const status = await client.status();
        const { items } = await client.instance.list({ project: context.project });
        const counts = Object.entries(status.instances).map(([phase, count]) => `${count} ${phase}`);
        const head = [
          `skerry     ${status.version}, process ${status.pid}, up ${formatMillis(status.uptimeMs)}, ${formatBytes(status.memory.rssBytes)} of memory`,
          `nodes      ${status.nodes.ready} of ${status.nodes.total} ready`,
          `instances  ${counts.join(', ') || 'none'}`,
          `holds      ${status.workloads} workloads, ${status.images} images, ${status.volumes} volumes; store ${formatBytes(status.store.bytes)}`,
        ];
        const table = items.length > 0 ? ['', formatTable(items, INSTANCE_COLUMNS)] : [];
        await context.output.one(status, () => [...head, ...table].join('\n'));
      }),
    );
}

const lostAfter = () =>
  new Option(
    '--lost-after <duration>',
    'how long an agent may be away before its node is lost; default: 30s',
  ).argParser(durationOption);

async function readStandardInput(): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}

/** Errors: request_invalid where nobody can be asked or the answer is no. */
async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) throw new SkerryError('request_invalid', 'this removes data: add --yes');
  const { createInterface } = await import('node:readline/promises');
  const asker = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asker.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new SkerryError('request_invalid', 'nothing was removed');
  } finally {
    asker.close();
  }
}
