/** doctor: what works on this machine and on the other nodes, and what to do where it does not. */
import type { ProbeFinding } from '@skerry/model';
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { formatFindings } from '../terminal/findings.ts';

interface Examined {
  readonly name: string;
  readonly phase: string;
  readonly findings: readonly ProbeFinding[];
}

export function registerDoctor(program: Command, context: Context): void {
  program
    .command('doctor')
    .description('what works on this machine, and what to do where it does not')
    .addHelpText(
      'after',
      `
ok    it works
part  it works, but not wholly or not as well as it could
no    it does not work; the exit code is 1 then

Example:
  skerry doctor --output json | jq '.[].findings[] | select(.level != "ok")'`,
    )
    .action(async () => {
      const progress = context.progress('looking');
      const nodes = await examineAll(context).finally(progress.end);
      const width = process.stdout.isTTY ? process.stdout.columns : undefined;
      await context.output.one(nodes, (all) =>
        all.length === 0
          ? 'no node has joined: `skerry node token` makes a token for one, `skerry agent --join TOKEN` there uses it'
          : all.map(({ name, findings }) => formatFindings(name, findings, width)).join('\n\n'),
      );
      if (nodes.some((node) => node.findings.some((finding) => finding.level === 'missing')))
        process.exitCode = 1;
    });
}

/** Nobody is there to ask, or this user may not ask. */
const WITHOUT_ANSWER: readonly string[] = ['not_running', 'forbidden'];

async function examineAll(context: Context): Promise<Examined[]> {
  const { agentHere, examine, examineHere } = await import('../server/examine.ts');
  try {
    const { nodes } = await context.withClient((client) => client.doctor({ fresh: true }));
    if (context.isRemote) return nodes;
    const { NODE_NAME } = await import('../server/compose.ts');
    const here = await examineHere(context.dataDir);
    return nodes.map((node) =>
      node.name === NODE_NAME ? { ...node, findings: [...here, ...node.findings] } : node,
    );
  } catch (error) {
    if (context.isRemote || !(error instanceof SkerryError && WITHOUT_ANSWER.includes(error.code)))
      throw error;
    const agent = agentHere(context.dataDir);
    const [name, phase] =
      agent === undefined
        ? [
            `this machine (${error.code === 'forbidden' ? 'nobody may ask skerry but root' : 'skerry does not run'})`,
            'down',
          ]
        : [
            `this machine (its agent is process ${agent}; \`skerry doctor\` at its controller asks it)`,
            'agent',
          ];
    return [{ name, phase, findings: await examine(context.dataDir) }];
  }
}
