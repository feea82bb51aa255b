/** The command tree. A file per group of commands; each loads what it needs only when it runs. */
import { Command, Option } from 'commander';
import { registerAccessNetwork } from './commands/access-network.ts';
import { registerApply } from './commands/apply.ts';
import { registerCompletion } from './commands/completion.ts';
import { registerDevice } from './commands/device.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerEvent } from './commands/event.ts';
import { registerFunction } from './commands/function.ts';
import { registerImage } from './commands/image.ts';
import { registerLab } from './commands/lab.ts';
import { registerNode } from './commands/node.ts';
import { registerOperation } from './commands/operation.ts';
import { registerProject } from './commands/project.ts';
import { registerRebalance } from './commands/rebalance.ts';
import { registerSeries } from './commands/series.ts';
import { registerServer } from './commands/server.ts';
import { registerStream } from './commands/stream.ts';
import { registerVolume } from './commands/volume.ts';
import { registerWorkload } from './commands/workload.ts';
import { createContext } from './context.ts';
import { addExamples } from './examples.ts';
import { VERSION } from './version.ts';

export function createProgram(): Command {
  const program = new Command('skerry')
    .description('A small data centre for the edge of the network')
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('(see skerry --help)')
    .addOption(
      new Option('--data <dir>', 'data folder of the program on this machine')
        .env('SKERRY_DATA')
        .default('/var/lib/skerry'),
    )
    .addOption(
      new Option('--server <url>', 'HTTPS address of a controller, in place of the data folder’s socket').env(
        'SKERRY_SERVER',
      ),
    )
    .addOption(
      new Option('--project <name>', 'the project whose workloads, volumes and images are meant')
        .env('SKERRY_PROJECT')
        .default('default'),
    )
    .addOption(
      new Option('-o, --output <format>', 'how results are written')
        .choices(['table', 'json', 'yaml'])
        .default('table'),
    )
    .option('-q, --quiet', 'say only what was asked for')
    .configureHelp({ showGlobalOptions: true });
  const context = createContext(program);
  registerServer(program, context);
  registerDoctor(program, context);
  registerApply(program, context);
  registerWorkload(program, context);
  registerFunction(program, context);
  registerImage(program, context);
  registerVolume(program, context);
  registerNode(program, context);
  registerAccessNetwork(program, context);
  registerDevice(program, context);
  registerStream(program, context);
  registerLab(program, context);
  registerRebalance(program, context);
  registerProject(program, context);
  registerOperation(program, context);
  registerEvent(program, context);
  registerSeries(program, context);
  registerCompletion(program, context);
  addExamples(program);
  return program;
}
