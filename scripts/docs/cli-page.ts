/** docs/reference/cli.md: every command with its arguments and options, from the command tree itself. */
import type { Command, Option } from 'commander';
import { createProgram } from '../../apps/cli/src/program.ts';
import { code, page, table } from './markdown.ts';

function optionRow(option: Option): string[] {
  const facts = [option.description];
  if (option.argChoices) facts.push(`one of ${option.argChoices.map(code).join(', ')}`);
  if (option.envVar) facts.push(`from the environment: ${code(option.envVar)}`);
  const plain = ['string', 'number'].includes(typeof option.defaultValue);
  if (plain) facts.push(`default ${code(defaultText(option))}`);
  return [code(option.flags), facts.filter(Boolean).join('; ')];
}

function defaultText(option: Option): string {
  const duration = option.flags.includes('<duration>') && typeof option.defaultValue === 'number';
  return duration ? `${Number(option.defaultValue) / 1000}s` : String(option.defaultValue);
}

const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();

function usage(command: Command): string {
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [pathOf(command), ...words].join(' ');
}

function sections(command: Command): string[] {
  const help = command.createHelp();
  const below = help.visibleCommands(command).filter((sub) => sub.name() !== 'help');
  if (below.length > 0) return below.flatMap(sections);
  const options = command.options.filter((option) => !option.hidden);
  const described = command.registeredArguments.filter((argument) => argument.description);
  const rows = [
    ...described.map((argument) => [code(argument.name()), argument.description]),
    ...options.map(optionRow),
  ];
  return [
    `### ${code(usage(command))}`,
    `${command.description()[0]!.toUpperCase()}${command.description().slice(1)}.`,
    ...(rows.length > 0 ? [table(['argument or option', 'meaning'], rows)] : []),
  ];
}

export function cliPage(): string {
  const program = createProgram();
  return page(
    'The command line',
    'apps/cli/src/program.ts',
    'Exit codes: 0 done, 1 failed, 2 used wrongly; `workload exec` ends with the code of its command. Groups have their plural as an alias (`workloads`).',
    '## Options of every command',
    table(
      ['option', 'meaning'],
      program.options.filter((option) => option.long !== '--version').map(optionRow),
    ),
    'With `--server`, the token comes from `SKERRY_TOKEN` and the authority from the file that `SKERRY_CA` names; without them `tls/token` and `tls/ca.crt` of the data folder are read.',
    '## Commands',
    ...sections(program),
  );
}
