/** A Docker engine of a test's own, below one temporary folder, with its own containerd: it meets no other of the machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST_ENV, unmountBelow } from '@skerry/host';
import { eventually } from '@skerry/testkit';
import { EngineApi } from '../engine-api.ts';

export interface PrivateDockerd {
  readonly socketPath: string;
  /** Ends the engine by SIGKILL; its containers go on (live-restore). */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends both and removes the folder. */
  end(): Promise<void>;
}

const START_LIMIT_MS = 60_000;

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await gone;
  clearTimeout(timer);
}

export async function startDockerd(): Promise<PrivateDockerd> {
  const folder = mkdtempSync(join(tmpdir(), 'skdk-'));
  const at = (name: string) => join(folder, name);
  mkdirSync(at('data'));
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
  const log = openSync(at('log'), 'a');
  const begin = (file: string, args: string[]) =>
    spawn(file, args, { stdio: ['ignore', log, log], env: { ...HOST_ENV }, detached: true });
  const containerd = begin('containerd', ['--config', at('containerd.toml')]);
  let dockerd: ChildProcess | undefined;
  const socketPath = at('d.sock');
  const start = async () => {
    rmSync(at('dockerd.pid'), { force: true });
    dockerd = begin('dockerd', [
      ...['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('dockerd.pid')],
      ...['--host', `unix://${socketPath}`, '--containerd', at('c.sock'), '--live-restore'],
      // It has no business with the host's network: Skerry's is used.
      ...['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'],
    ]);
    const api = new EngineApi(socketPath);
    try {
      const limit = performance.now() + START_LIMIT_MS;
      await eventually(
        'dockerd answers',
        () =>
          api.call('GET', '/version').then(
            () => true,
            (error) => {
              if (performance.now() > limit)
                throw new Error(readFileSync(at('log'), 'utf8').slice(-800), { cause: error });
              return false;
            },
          ),
        { withinMs: START_LIMIT_MS },
      );
    } finally {
      await api.close();
    }
  };
  const end = async () => {
    if (dockerd) await ended(dockerd, 'SIGTERM');
    await ended(containerd, 'SIGTERM');
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
    kill: async () => {
      if (dockerd) await ended(dockerd, 'SIGKILL');
    },
    end,
  };
}
