/**
 * A Podman engine of a test's own, below one temporary folder: storage, locks, containers and socket. The OCI runtime is runc,
 * for crun refuses control groups of version 1 with an empty v2 tree beside them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST_ENV, unmountBelow } from '@skerry/host';
import { ended, engineAnswers, type PrivateEngine } from './engine.ts';

export async function startPodman(): Promise<PrivateEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'skpd-'));
  const at = (name: string) => join(folder, name);
  mkdirSync(at('networks'));
  writeFileSync(
    at('containers.conf'),
    [
      '[containers]',
      // Podman's own default is above what this machine's limits may allow.
      'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]',
      '[engine]',
      'cgroup_manager = "cgroupfs"',
      'events_logger = "file"',
      'lock_type = "file"', // the default is one memory segment for the whole machine
      '[network]',
      `network_config_dir = ${JSON.stringify(at('networks'))}`,
      '',
    ].join('\n'),
  );
  const log = openSync(at('log'), 'a');
  const socketPath = at('p.sock');
  let podman: ChildProcess | undefined;
  const start = async () => {
    rmSync(socketPath, { force: true });
    podman = spawn(
      'podman',
      [
        ...['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp')],
        ...['--storage-driver', 'overlay', '--runtime', 'runc'],
        ...['system', 'service', '--time', '0', `unix://${socketPath}`],
      ],
      {
        stdio: ['ignore', log, log],
        cwd: folder, // its monitors leave a file there when memory runs out
        env: { ...HOST_ENV, CONTAINERS_CONF: at('containers.conf') },
        detached: true,
      },
    );
    await engineAnswers(socketPath, () => readFileSync(at('log'), 'utf8'));
  };
  const end = async () => {
    if (podman) await ended(podman, 'SIGTERM');
    await unmountBelow(folder, AbortSignal.timeout(20_000)).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await end();
    throw error;
  }
  return {
    socketPath,
    start,
    kill: async (signal = 'SIGKILL') => {
      if (podman) await ended(podman, signal);
    },
    end,
  };
}
