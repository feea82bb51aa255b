/** What kind of engine answers, and what it can do: asked once when it starts to be used, and by the probe. */
import { SkerryError } from '@skerry/model';
import type { EngineApi } from './engine-api.ts';

export interface EngineFacts {
  readonly flavour: 'docker' | 'podman';
  readonly version: string;
  /** The engine makes control groups by itself, where it is told to; else systemd does, in its own places. */
  readonly cgroupfs: boolean;
  readonly mapsUsers: boolean;
  readonly filtersCalls: boolean;
  /** The engine runs as a user without rights. */
  readonly rootless: boolean;
  /** Containers go on while the engine is away. Podman's always do: each has a monitor of its own. */
  readonly keepsContainers: boolean;
  /** How containers' disks are kept: `overlay2 on extfs`. */
  readonly storage: string;
}

interface Info {
  readonly ServerVersion: string;
  readonly CgroupDriver: string;
  readonly LiveRestoreEnabled?: boolean;
  readonly SecurityOptions?: readonly string[] | null;
  readonly Driver: string;
  readonly DriverStatus?: readonly (readonly string[])[] | null;
}

/**
 * `only`: where another engine answers than the one that was chosen, it is as if none did. Errors: EngineRefusal,
 * engine_unavailable, cancelled.
 */
export async function engineFacts(
  api: EngineApi,
  signal: AbortSignal,
  only?: EngineFacts['flavour'],
): Promise<EngineFacts> {
  const [info, version] = await Promise.all([
    api.call<Info>('GET', '/info', { signal }),
    api.call<{ Components?: { Name?: string }[] }>('GET', '/version', { signal }),
  ]);
  const podman = version.Components?.some(({ Name }) => Name?.startsWith('Podman')) ?? false;
  const flavour = podman ? 'podman' : 'docker';
  if (only !== undefined && only !== flavour)
    throw new SkerryError(
      'engine_unavailable',
      `${engineName({ flavour: only })} was chosen, and ${engineName({ flavour })} ${info.ServerVersion} answers at ${api.socketPath}`,
    );
  const has = (word: string) => info.SecurityOptions?.some((option) => option.includes(word)) ?? false;
  const backing = info.DriverStatus?.find(([name]) => name === 'Backing Filesystem')?.[1];
  return {
    flavour,
    version: info.ServerVersion,
    cgroupfs: info.CgroupDriver === 'cgroupfs',
    mapsUsers: has('name=userns'),
    filtersCalls: has('name=seccomp'),
    rootless: has('name=rootless'),
    keepsContainers: podman || info.LiveRestoreEnabled === true,
    storage: `${info.Driver}${backing === undefined ? '' : ` on ${backing}`}`,
  };
}

export const engineName = ({ flavour }: Pick<EngineFacts, 'flavour'>): string =>
  flavour === 'podman' ? 'Podman' : 'Docker';
