/** What works with this engine and, where not, why and what to do about it. */
import { cgroupMode } from '@skerry/host';
import type { ProbeFinding, SkerryError } from '@skerry/model';
import { type EngineApi, EngineRefusal } from './engine-api.ts';
import { type EngineFacts, engineFacts, engineName } from './engine-facts.ts';
import { isOlder, PROVED, unproved } from './proved.ts';

const works = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
const lacks = (name: string, text: string, remedy: string): ProbeFinding => ({
  ...{ name, ok: false, level: 'degraded' },
  ...{ text, remedy },
});

/** Whether the tests ran on such an engine. */
function proof(facts: EngineFacts): ProbeFinding {
  const name = 'container.proved';
  const lacking = unproved(facts, cgroupMode());
  const engine = engineName(facts);
  if (lacking.length === 0)
    return works(name, `tests ran on ${engine} ${PROVED[facts.flavour]}, set up like this one`);
  const text = `no test ran on: ${lacking.join(', ')}`;
  if (facts.rootless || isOlder(facts))
    return lacks(
      name,
      `${text}; it may not work`,
      `Use ${engine} ${PROVED[facts.flavour]} or newer as the system's own service, or containerd on this node.`,
    );
  return works(name, `${text}; it is expected to work`);
}

export async function probeDocker(
  api: EngineApi,
  signal: AbortSignal,
  only?: EngineFacts['flavour'],
): Promise<ProbeFinding[]> {
  let facts: EngineFacts;
  try {
    facts = await engineFacts(api, signal, only);
  } catch (error) {
    if (!(error instanceof EngineRefusal) && (error as SkerryError).code !== 'engine_unavailable')
      throw error;
    return [
      {
        ...{ name: 'container', ok: false, level: 'missing' },
        text: `containers can not run: ${(error as Error).message}`,
        remedy:
          'Start the engine (systemctl start docker, or podman.socket), or start Skerry with its own containerd.',
      },
    ];
  }
  const { version, keepsContainers, filtersCalls, mapsUsers } = facts;
  const engine = engineName(facts);
  return [
    works('container', `containers run on the ${engine} engine ${version} at ${api.socketPath}`),
    proof(facts),
    keepsContainers
      ? works('container.liveRestore', 'containers go on while the engine is away')
      : lacks(
          'container.liveRestore',
          'containers end when the Docker engine ends, and are then started anew',
          'Put {"live-restore": true} into /etc/docker/daemon.json and reload the engine.',
        ),
    filtersCalls
      ? works('container.seccomp', 'system calls are filtered by seccomp')
      : lacks(
          'container.seccomp',
          'this engine filters no system calls',
          'Use an engine that was built with seccomp.',
        ),
    facts.flavour === 'podman' && cgroupMode() !== 'v2'
      ? lacks(
          'container.outOfMemory',
          'an end for want of memory is told as an end by SIGKILL: Podman does not say it in control groups of version 1',
          'Boot with systemd.unified_cgroup_hierarchy=1, or use containerd on this node.',
        )
      : works('container.outOfMemory', 'an end for want of memory is told as such'),
    mapsUsers
      ? works('container.userNamespace', 'root in a container is nobody on the node (userns-remap)')
      : lacks(
          'container.userNamespace',
          `security.userNamespace is refused: this ${engine} engine maps no users`,
          'Start dockerd with --userns-remap=default, or use containerd on this node.',
        ),
    /on xfs$/.test(facts.storage) || /^(btrfs|zfs)/.test(facts.storage)
      ? works('container.disk', `resources.disk is left to the engine's storage, ${facts.storage}`)
      : lacks(
          'container.disk',
          `resources.disk is refused: the engine's storage, ${facts.storage}, limits no container's disk`,
          "Put the engine's data on XFS mounted with pquota, or use containerd on this node.",
        ),
  ];
}
