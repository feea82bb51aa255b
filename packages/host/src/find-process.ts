/** Finds processes by an argument that only they can have, such as the path of a file in a data folder. */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { commandLine } from './command-line.ts';
import { type ProcessRef, processRef } from './process.ts';

/** Every process with exactly this argument in its command line, in no order. */
export function processesWithArgument(argument: string): ProcessRef[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processRef(Number(name)) ?? [])
    .filter((ref) => commandLine(ref).includes(argument));
}

/** Every process of this program (by the last part of its path) with an argument that is this folder or a path below it. */
export function programsBelow(program: string, folder: string): ProcessRef[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processRef(Number(name)) ?? [])
    .filter((ref) => {
      const [own = '', ...words] = commandLine(ref);
      return (
        basename(own) === program && words.some((word) => word === folder || word.startsWith(`${folder}/`))
      );
    });
}
