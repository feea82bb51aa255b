/**
 * Which engine the containers of a data folder are on: chosen once, at the first start, and kept, for an engine that is asked no
 * more would keep its containers for ever.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Identity, writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';

export interface EngineChoice {
  /** Socket of the system's containerd, in place of a private one. */
  readonly engine?: string;
  /** Socket of a Docker engine, in place of containerd. */
  readonly docker?: string;
}

const words = ({ engine, docker }: EngineChoice): string =>
  docker !== undefined
    ? `the Docker engine at ${docker}`
    : engine !== undefined
      ? `the containerd at ${engine}`
      : 'a containerd of its own';

/** What holds for this data folder. `asked` empty: what was chosen before. Errors: request_invalid, conflict. */
export function engineChoice(identity: Identity, asked: EngineChoice): EngineChoice {
  const { engine, docker } = asked;
  if (engine !== undefined && docker !== undefined)
    throw new SkerryError('request_invalid', '--engine and --docker name two engines: choose one');
  const path = join(identity.dataDir, 'engine.json');
  const before = readChoice(path);
  const choice = { ...(engine === undefined ? {} : { engine }), ...(docker === undefined ? {} : { docker }) };
  const isAsked = engine !== undefined || docker !== undefined;
  if (before && (!isAsked || JSON.stringify(before) === JSON.stringify(choice))) return before;
  if (before)
    throw new SkerryError(
      'conflict',
      `the containers of ${identity.dataDir} are on ${words(before)}, and not on ${words(choice)}: take another data folder, or remove this one with skerry down --purge`,
    );
  writeFileDurably(path, `${JSON.stringify(choice)}\n`);
  return choice;
}

function readChoice(path: string): EngineChoice | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as EngineChoice;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
