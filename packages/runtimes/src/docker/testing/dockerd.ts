/** A Docker engine of a test's own, below one temporary folder, with its own containerd: it meets no other of the machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST_ENV, unmountBelow } from '@skerry/host';
import { ended, engineAnswers, type PrivateEngine } from './engine.ts';

export type PrivateDockerd = PrivateEngine;

export interface DockerdOptions {
  /** Whether containers go on while the engine is away; default true. */
  readonly liveRestore?: boolean;
}

export async function startDockerd({ liveRestore = true }: DockerdOptions = {}): Promise<PrivateEngine> {
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
      ...['--host', `unix://${socketPath}`, '--containerd', at('c.sock')],
      ...(liveRestore ? ['--live-restore'] : []),
      // It has no business with the host's network: Skerry's is used.
      ...['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'],
    ]);
    await engineAnswers(socketPath, () => readFileSync(at('log'), 'utf8'));
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
    kill: async (signal = 'SIGKILL') => {
      if (dockerd) await ended(dockerd, signal);
    },
    end,
  };
}
