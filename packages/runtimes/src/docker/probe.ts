/** What works with this Docker engine and, where not, why and what to do about it. */
import { type ProbeFinding, SkerryError } from '@skerry/model';
import type { EngineApi, EngineInfo } from './engine-api.ts';

const finding = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });

export async function probeDocker(api: EngineApi, signal: AbortSignal): Promise<ProbeFinding[]> {
  let info: EngineInfo;
  try {
    info = await api.call<EngineInfo>('GET', '/info', { signal });
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'cancelled') throw error;
    return [
      {
        ...{ name: 'container', ok: false, level: 'missing' },
        text: `containers can not run: ${(error as Error).message}`,
        remedy: 'Start the engine (systemctl start docker), or start Skerry with its own containerd.',
      },
    ];
  }
  const mapped = info.SecurityOptions?.some((option) => option.includes('name=userns'));
  const filtered = info.SecurityOptions?.some((option) => option.includes('name=seccomp'));
  return [
    finding('container', `containers run on the Docker engine ${info.ServerVersion} at ${api.socketPath}`),
    info.LiveRestoreEnabled
      ? finding('container.liveRestore', 'containers go on while the engine is away')
      : {
          ...{ name: 'container.liveRestore', ok: false, level: 'degraded' },
          text: 'containers end when the Docker engine ends, and are then started anew',
          remedy: 'Put {"live-restore": true} into /etc/docker/daemon.json and reload the engine.',
        },
    filtered
      ? finding('container.seccomp', 'system calls are filtered by seccomp')
      : {
          ...{ name: 'container.seccomp', ok: false, level: 'degraded' },
          text: 'this engine filters no system calls',
          remedy: 'Use an engine that was built with seccomp.',
        },
    mapped
      ? finding('container.userNamespace', 'root in a container is nobody on the node (userns-remap)')
      : {
          ...{ name: 'container.userNamespace', ok: false, level: 'degraded' },
          text: 'security.userNamespace is refused: this Docker engine maps no users',
          remedy: 'Start dockerd with --userns-remap=default, or use containerd on this node.',
        },
  ];
}
