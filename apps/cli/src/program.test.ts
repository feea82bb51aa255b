import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { createProgram } from './program.ts';

/** Every command with what `--help` prints. */
function helps(command: Command, path: readonly string[] = []): { path: string; text: string }[] {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
    getOutHelpWidth: () => 80,
  });
  command.outputHelp();
  return [
    { path: path.join(' '), text },
    ...command.commands.flatMap((sub) => helps(sub, [...path, sub.name()])),
  ];
}
const ALL = helps(createProgram());

test('help of every command fits a terminal of 80 columns, its examples included', () => {
  expect(ALL.length).toBeGreaterThan(70);
  for (const { path, text } of ALL)
    for (const line of text.split('\n')) expect(line.length, `${path}: ${line}`).toBeLessThanOrEqual(80);
});

test('every command says what it does, and where a default is a time it is one with its unit', () => {
  for (const { path, text } of ALL.filter(({ path }) => path !== 'complete')) {
    expect(text.split('\n')[2]?.length, path).toBeGreaterThan(5);
    expect(text, path).not.toMatch(/default: \d{4,}/);
  }
});
