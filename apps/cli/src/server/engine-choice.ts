/**
 * Which engine the containers of a data folder are on: chosen once, at the first start, and kept, for an engine that is asked no
 * more would keep its containers for ever.
 *
 *   --engine containerd | [containerd:]SOCKET | docker[:SOCKET] | podman[:SOCKET]      --docker SOCKET = --engine docker:SOCKET
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Identity, writeFileDurably } from '@skerry/host';
import { SkerryError } from '@skerry/model';

/** As it is asked for. */
export interface EngineOptions {
  readonly engine?: string;
  readonly docker?: string;
}

/** As it is kept. None of them: a private containerd. */
export interface EngineChoice {
  /** Socket of the system's containerd. */
  readonly engine?: string;
  /** Socket of an engine that speaks Docker's API. Which one it is, it says itself. */
  readonly docker?: string;
  /** The same, and nothing but Podman may answer there. */
  readonly podman?: string;
}

/** Where Debian's packages, and those of both projects, put them. */
const USUAL = { docker: '/var/run/docker.sock', podman: '/run/podman/podman.sock' } as const;
const FORMS =
  'containerd, containerd:SOCKET, docker[:SOCKET], podman[:SOCKET], or a path, which is a containerd';

const words = ({ engine, docker, podman }: EngineChoice): string =>
  docker !== undefined
    ? `the Docker engine at ${docker}`
    : podman !== undefined
      ? `the Podman engine at ${podman}`
      : engine !== undefined
        ? `the containerd at ${engine}`
        : 'a containerd of its own';

/** Errors: request_invalid. */
function asksFor(text: string): EngineChoice {
  if (text.startsWith('/')) return { engine: text };
  const [, kind, socket] = /^(containerd|docker|podman)(?::(.*))?$/s.exec(text) ?? [];
  if (kind === undefined || (socket !== undefined && !socket.startsWith('/')))
    throw new SkerryError(
      'request_invalid',
      `there is no engine "${text}": --engine takes ${FORMS}; SOCKET is an absolute path`,
    );
  if (kind === 'docker') return { docker: socket ?? USUAL.docker };
  if (kind === 'podman') return { podman: socket ?? USUAL.podman };
  return socket === undefined ? {} : { engine: socket };
}

/** What holds for this data folder. Nothing asked: what was chosen before. Errors: request_invalid, conflict. */
export function engineChoice(identity: Identity, { engine, docker }: EngineOptions): EngineChoice {
  if (engine !== undefined && docker !== undefined)
    throw new SkerryError('request_invalid', '--engine and --docker name two engines: choose one');
  const path = join(identity.dataDir, 'engine.json');
  const before = keptChoice(identity.dataDir);
  const asked = docker !== undefined ? { docker } : engine !== undefined ? asksFor(engine) : undefined;
  const choice = asked ?? {};
  if (before && (!asked || JSON.stringify(before) === JSON.stringify(choice))) return before;
  if (before)
    throw new SkerryError(
      'conflict',
      `the containers of ${identity.dataDir} are on ${words(before)}, and not on ${words(choice)}: take another data folder, or remove this one with skerry down --purge`,
    );
  writeFileDurably(path, `${JSON.stringify(choice)}\n`);
  return choice;
}

/** What a data folder has chosen; undefined where it has never been started. */
export function keptChoice(dataDir: string): EngineChoice | undefined {
  try {
    return JSON.parse(readFileSync(join(dataDir, 'engine.json'), 'utf8')) as EngineChoice;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
