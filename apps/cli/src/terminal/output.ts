/** Where results go: a table, JSON or YAML on stdout. Words for people go to stderr, so that pipes stay clean. */
import type { Column } from './table.ts';
import { formatTable } from './table.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';

export interface Output {
  readonly format: OutputFormat;
  /** A list: the table's columns for people, the whole resources for programs. */
  list<T>(rows: readonly T[], columns: readonly Column<T>[], whenEmpty: string): Promise<void>;
  /** One thing: `text` for people, the whole for programs. */
  one<T>(value: T, text: (value: T) => string): Promise<void>;
  /** What a command did: a line for people, the whole for programs. */
  done(value: unknown, text: string): Promise<void>;
  /** One of many as they come: a line for people, a line of JSON or a document of YAML for programs. */
  each<T>(value: T, text: (value: T) => string): Promise<void>;
  /** A line that tells what was done; silent with --quiet, on stderr where the output is for programs. */
  say(text: string): void;
  /** Plain text to stdout. */
  write(text: string): void;
}

export function createOutput(format: OutputFormat, quiet: boolean): Output {
  const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  const serialise = async (value: unknown) => {
    if (format === 'json') return print(JSON.stringify(value, null, 2));
    const { toYaml } = await import('./yaml.ts');
    print(toYaml(value));
  };
  return {
    format,
    async list(rows, columns, whenEmpty) {
      if (format !== 'table') return serialise(rows);
      if (rows.length > 0) {
        const width = process.stdout.isTTY ? process.stdout.columns : undefined;
        return print(formatTable(rows, columns, width));
      }
      if (!quiet) process.stderr.write(`${whenEmpty}\n`);
    },
    async one(value, text) {
      if (format !== 'table') return serialise(value);
      print(text(value));
    },
    async done(value, text) {
      if (format !== 'table') return serialise(value);
      this.say(text);
    },
    async each(value, text) {
      if (format === 'table') return print(text(value));
      if (format === 'json') return print(JSON.stringify(value));
      const { toYaml } = await import('./yaml.ts');
      print(`---\n${toYaml(value)}`);
    },
    say(text) {
      if (quiet) return;
      (format === 'table' ? process.stdout : process.stderr).write(`${text}\n`);
    },
    write: print,
  };
}
