/** Which engines stand on a machine that does not use them: whoever reads it learns what could be chosen. Starts none of them. */
import { existsSync } from 'node:fs';
import { findProgram } from '@skerry/host';
import type { ProbeFinding } from '@skerry/model';
import { EngineApi } from './engine-api.ts';
import { type EngineFacts, engineFacts, engineName } from './engine-facts.ts';
import { isOlder, PROVED } from './proved.ts';

/** Where Debian's packages, and those of both projects, put it. */
export const USUAL_SOCKETS = { docker: '/var/run/docker.sock', podman: '/run/podman/podman.sock' } as const;
const ANSWER_LIMIT_MS = 2000;
const SERVICE = { docker: 'docker', podman: 'podman.socket' } as const;
const DAEMON = { docker: 'dockerd', podman: 'podman' } as const;
const PACKAGE = { docker: 'docker.io', podman: 'podman' } as const;

type Flavour = EngineFacts['flavour'];

/** `container.docker`, `container.podman`. A machine needs neither, so none of it counts as missing. */
export const findEngines = (
  signal: AbortSignal,
  sockets: Readonly<Record<Flavour, string>> = USUAL_SOCKETS,
): Promise<ProbeFinding[]> =>
  Promise.all(
    (['docker', 'podman'] as const).map((flavour) => findEngine(flavour, sockets[flavour], signal)),
  );

async function findEngine(flavour: Flavour, socket: string, signal: AbortSignal): Promise<ProbeFinding> {
  const finding = (text: string, remedy?: string): ProbeFinding => ({
    ...{ name: `container.${flavour}`, ok: true, level: 'ok', text },
    ...(remedy === undefined ? {} : { remedy }),
  });
  const name = engineName({ flavour });
  const choose = `skerry up --engine ${flavour}, with a data folder of its own, puts containers on it`;
  if (existsSync(socket)) {
    const api = new EngineApi(socket);
    try {
      const until = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]);
      const facts = await engineFacts(api, until);
      if (facts.flavour !== flavour)
        return finding(`${engineName(facts)} ${facts.version} answers at ${socket}, in place of ${name}`);
      const proof = isOlder(facts) ? `; tests ran on ${PROVED[flavour]} and newer alone` : '';
      return finding(`${name} ${facts.version} answers at ${socket} and is not used${proof}`, choose);
    } catch {
      if (signal.aborted) signal.throwIfAborted();
    } finally {
      await api.close();
    }
  }
  if (findProgram(DAEMON[flavour]) === undefined)
    return finding(
      `${name} is not installed, and not needed`,
      `To put containers on it: apt-get install ${PACKAGE[flavour]}`,
    );
  return finding(
    `${name} is installed, does not answer at ${socket}, and is not needed`,
    `To put containers on it: systemctl enable --now ${SERVICE[flavour]}`,
  );
}
