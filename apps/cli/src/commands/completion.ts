/** Shell completion: a small script that asks the program itself, so that names of resources complete too. */
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';

const SCRIPTS: Record<string, string> = {
  bash: `_skerry() { mapfile -t COMPREPLY < <(compgen -W "$(skerry complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"); }
complete -o default -F _skerry skerry`,
  zsh: `#compdef skerry
_skerry() { local -a found; found=(\${(f)"$(skerry complete -- "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null)"}); compadd -a found; _files; }
compdef _skerry skerry`,
  fish: `complete -c skerry -a '(skerry complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'`,
};

/** What may follow the words, the last of which is being typed. Names come from the controller where it answers. */
async function candidates(program: Command, context: Context, words: readonly string[]): Promise<string[]> {
  let command = program;
  const before = words.slice(0, -1).filter((word) => !word.startsWith('-'));
  let rest = before.length;
  for (const word of before) {
    const next = command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word));
    if (!next) break;
    command = next;
    rest--;
  }
  const options = [...command.options, ...program.options].flatMap((option) =>
    option.long ? [option.long] : [],
  );
  if (words.at(-1)?.startsWith('-')) return options;
  if (command.commands.length > 0)
    return command.commands.map((sub) => sub.name()).filter((name) => name !== 'complete');
  if (rest > 0 || command.registeredArguments.length === 0) return [];
  return namesFor(command.parent?.name() ?? '', context).catch(() => []);
}

const namesFor = (group: string, context: Context): Promise<string[]> =>
  context.withClient(async (client) => {
    const { project } = context;
    if (group === 'workload' || group === 'function')
      return (await client.workload.list({ project })).items.map((item) => item.metadata.name);
    if (group === 'image')
      return (await client.image.list({ project })).items.map((item) => item.spec.reference);
    if (group === 'volume')
      return (await client.volume.list({ project })).items.map((item) => item.metadata.name);
    if (group === 'node') return (await client.node.list()).items.map((item) => item.metadata.name);
    if (group === 'project') return (await client.project.list()).items.map((item) => item.metadata.name);
    if (group === 'operation') return (await client.operation.list()).items.map((item) => item.metadata.name);
    return [];
  });

export function registerCompletion(program: Command, context: Context): void {
  program
    .command('completion')
    .description('shell completion: source <(skerry completion bash)')
    .argument('<shell>', Object.keys(SCRIPTS).join(', '))
    .action((shell: string) => {
      const script = SCRIPTS[shell];
      if (script === undefined)
        throw new SkerryError(
          'request_invalid',
          `no completion for "${shell}": ${Object.keys(SCRIPTS).join(', ')} have one`,
        );
      context.output.write(script);
    });
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      context.output.write((await candidates(program, context, words)).join('\n'));
    });
}
