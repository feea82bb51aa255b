/** Shell completion: a small script that asks the program itself, so that names of resources complete too. */
import { type Argument, type Command, type Option, Argument as TakesArgument } from 'commander';
import type { Context } from '../context.ts';
import { namesOf } from '../names.ts';

/**
 * bash breaks words at `:` and `=` (COMP_WORDBREAKS), which names of images have in them: the line is split anew, and what stands
 * before the last break is taken off the answers.
 */
const BASH = `_skerry() {
  local line="\${COMP_LINE:0:COMP_POINT}" words cur head
  read -ra words <<< "$line"
  [[ "$line" == *[[:space:]] ]] && words+=("")
  cur="\${words[\${#words[@]}-1]}"
  mapfile -t COMPREPLY < <(compgen -W "$(skerry complete -- "\${words[@]:1}" 2>/dev/null)" -- "$cur")
  head="\${cur%"\${cur##*[:=]}"}"
  [[ -n "$head" ]] && COMPREPLY=("\${COMPREPLY[@]#"$head"}")
}
complete -o default -F _skerry skerry`;

const ZSH = `#compdef skerry
_skerry() {
  local -a found
  found=(\${(f)"$(skerry complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -a found; else _files; fi
}
compdef _skerry skerry`;

const FISH = `function __skerry_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (skerry complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c skerry -f -a '(__skerry_complete)'`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

/** Where the words that were typed have led. */
interface Place {
  readonly command: Command;
  /** Arguments of the command that are complete. */
  readonly given: readonly string[];
  /** The option whose value is being typed. */
  readonly open?: Option;
  readonly afterDashes: boolean;
}

const takesValue = (option: Option) => option.required || option.optional;
/** The option of that name, and the command that has it. */
function optionOf(command: Command, word: string): { option: Option; owner: Command } | undefined {
  for (let owner: Command | null = command; owner !== null; owner = owner.parent) {
    const option = owner.options.find(({ long, short }) => long === word || short === word);
    if (option) return { option, owner };
  }
  return undefined;
}

/** As after parsing: what was typed, else what the environment says, else the default. */
function valueIn(command: Command, name: string): string | undefined {
  const option = command.options.find((one) => one.attributeName() === name);
  const typed = command.getOptionValueSource(name) === 'cli';
  const environment = option?.envVar === undefined ? undefined : process.env[option.envVar];
  return (typed ? undefined : environment) || command.getOptionValue(name);
}

/** Follows the words before the one that is being typed; options that they give hold for the questions to the controller, too. */
function follow(program: Command, words: readonly string[]): Place {
  let command = program;
  const given: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (word === '--') return { command, given, afterDashes: true };
    if (word.startsWith('-')) {
      const [name, inline] = word.split(/=(.*)/s, 2) as [string, string?];
      const found = optionOf(command, name);
      if (found === undefined || !takesValue(found.option)) continue;
      const value = inline ?? words[++at];
      if (value === undefined) return { command, given, open: found.option, afterDashes: false };
      found.owner.setOptionValueWithSource(found.option.attributeName(), value, 'cli');
      continue;
    }
    const next =
      given.length === 0
        ? command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word))
        : undefined;
    if (next) command = next;
    else given.push(word);
  }
  return { command, given, afterDashes: false };
}

const visible = (command: Command) =>
  command.commands.map((sub) => sub.name()).filter((name) => name !== 'complete');

function optionsOf(command: Command): string[] {
  const found = ['--help'];
  for (let at: Command | null = command; at !== null; at = at.parent)
    found.push(...at.options.flatMap((option) => (option.long && !option.hidden ? [option.long] : [])));
  return found;
}

/** The argument that comes next; the last one may take many. */
function nextArgument({ registeredArguments }: Command, given: number): Argument | undefined {
  const last = registeredArguments.at(-1);
  return registeredArguments[given] ?? (last?.variadic ? last : undefined);
}

/** Which names an argument takes: those of its own word, or of the group of its command. */
const KINDS_OF_ARGUMENTS = ['client', 'access-point', 'link', 'node'];

async function candidates(program: Command, context: Context, words: readonly string[]): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  const { command, given, open, afterDashes } = follow(program, words.slice(0, -1));
  if (afterDashes) return [];
  if (open) return valuesOf(open, context);
  const [name, inline] = typed.split(/=(.*)/s, 2) as [string, string?];
  const option = typed.startsWith('--') && inline !== undefined ? optionOf(command, name)?.option : undefined;
  if (option) return (await valuesOf(option, context)).map((value) => `${name}=${value}`);
  if (typed.startsWith('-')) return optionsOf(command);
  if (command.commands.length > 0) return given.length > 0 ? [] : visible(command);
  const argument = nextArgument(command, given.length);
  if (argument === undefined) return [];
  if (argument.argChoices) return [...argument.argChoices];
  const group = command.parent?.name() ?? '';
  const word = argument.name();
  const kind = KINDS_OF_ARGUMENTS.includes(word) ? word : word === 'name' ? group : '';
  if (group === 'lab') return namesInLab(command, word);
  return (await namesFrom(context, kind)).filter((one) => !given.includes(one));
}

/** Values of an option: its choices, or names. A file is the shell's to complete. */
async function valuesOf(option: Option, context: Context): Promise<string[]> {
  if (option.argChoices) return [...option.argChoices];
  return option.long === '--project' ? namesFrom(context, 'project') : [];
}

const namesFrom = (context: Context, kind: string): Promise<string[]> =>
  context.withClient((client) => namesOf(client, kind, context.project)).catch(() => []);

/** A lab's own names: its controller may have no power. */
async function namesInLab(command: Command, word: string): Promise<string[]> {
  try {
    const room = await import('@skerry/lab');
    const group = command.parent!;
    const { plan } = room.requireLab(room.chooseLab(valueIn(group, 'labs')!, valueIn(group, 'lab')));
    const named = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name);
    if (word === 'client') return named(plan.clients);
    if (word === 'link') return named(plan.wires);
    if (word === 'node') return named(plan.machines);
    if (word === 'name') return [...named(plan.clients), ...named(plan.machines), ...named(plan.routers)];
    return word === 'access-point' ? named(plan.routers) : [];
  } catch {
    return [];
  }
}

export function registerCompletion(program: Command, context: Context): void {
  program
    .command('completion')
    .description('shell completion')
    .addArgument(new TakesArgument('<shell>').choices(Object.keys(SCRIPTS)))
    .action((shell: string) => context.output.write(SCRIPTS[shell]!));
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const found = await candidates(program, context, words);
      if (found.length > 0) context.output.write(found.join('\n'));
    });
}
