/** A containerd and a dockerd of the benchmark's own, below one temporary folder: they meet no others of the machine. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { background, end, run } from './program.ts';

const START_LIMIT_MS = 30_000;

export interface Engines {
  /** Of the dockerd. */
  readonly dockerSocket: string;
  /** `ctr run --detach`: milliseconds from calling it to its end, when the process runs. */
  ctrRun(name: string): Promise<number>;
  ctrRemove(name: string): Promise<void>;
  /** `docker run --detach`, likewise: on Docker's own bridge, or with `--network none`. */
  dockerRun(name: string, network: 'bridge' | 'none', options?: readonly string[]): Promise<number>;
  dockerRemove(name: string): Promise<void>;
  end(): Promise<void>;
}

async function answering(what: string, log: string, ask: () => Promise<unknown>): Promise<void> {
  const until = performance.now() + START_LIMIT_MS;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (performance.now() > until)
        throw new Error(`${what} does not answer: ${readFileSync(log, 'utf8').slice(-500)}`, {
          cause: error,
        });
      await pause(50);
    }
  }
}

/** Imports the OCI archive of one image, which both then have. */
export async function startEngines(archive: string, image: string): Promise<Engines> {
  const folder = mkdtempSync(join(tmpdir(), 'skbench-'));
  const at = (name: string) => join(folder, name);
  mkdirSync(at('docker'));
  writeFileSync(
    at('containerd.toml'),
    [
      'version = 2',
      `root = ${JSON.stringify(at('root'))}`,
      `state = ${JSON.stringify(at('state'))}`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\n  address = ${JSON.stringify(at('c.sock'))}`,
      `[ttrpc]\n  address = ${JSON.stringify(at('t.sock'))}`,
      '',
    ].join('\n'),
  );
  const ctr = (...args: string[]) => run('ctr', ['--address', at('c.sock'), '--namespace', 'bench', ...args]);
  const docker = (...args: string[]) => run('docker', ['--host', `unix://${at('d.sock')}`, ...args]);
  const containerd = background('containerd', ['--config', at('containerd.toml')], at('containerd.log'));
  let dockerd: ReturnType<typeof background> | undefined;
  const netns = `skbench${process.pid}`;
  const stop = async () => {
    if (dockerd) await end(dockerd);
    await end(containerd);
    await run('ip', ['netns', 'delete', netns]).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await answering('containerd', at('containerd.log'), () => ctr('version'));
    // dockerd as it is by default, with its bridge and its iptables rules; both are in a namespace of its own.
    await run('ip', ['netns', 'add', netns]);
    dockerd = background(
      'nsenter', // not `ip netns exec`: that hides the control groups
      [
        ...[`--net=/run/netns/${netns}`, 'dockerd'],
        ...['--data-root', at('docker'), '--exec-root', at('exec'), '--pidfile', at('dockerd.pid')],
        ...['--host', `unix://${at('d.sock')}`, '--containerd', at('c.sock')],
      ],
      at('dockerd.log'),
    );
    await answering('dockerd', at('dockerd.log'), () => docker('version'));
    // dockerd 20.10 loads no OCI archive.
    await run('skopeo', [
      ...['--insecure-policy', 'copy', '--quiet'],
      ...[`oci-archive:${archive}`, `docker-archive:${at('image.tar')}:${image}`],
    ]);
    await ctr('images', 'import', at('image.tar'));
    await docker('load', '--input', at('image.tar'));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dockerSocket: at('d.sock'),
    ctrRun: (name) => ctr('run', '--detach', `docker.io/library/${image}`, name),
    async ctrRemove(name) {
      await ctr('tasks', 'delete', '--force', name);
      await ctr('containers', 'delete', name);
    },
    dockerRun: (name, network, options = []) =>
      docker('run', '--detach', '--network', network, ...options, '--name', name, image),
    dockerRemove: async (name) => void (await docker('rm', '--force', name)),
    end: stop,
  };
}
