/**
 * A system container as one starts it by hand with LXC: unpacked beforehand, mapped ids, its own interface in a bridge, limits
 * of memory and processes, and LXC's usual seccomp filter where it is installed.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstAnswer, LIGHTHOUSE } from '../skerry.ts';
import { run } from './program.ts';
import { makeWire } from './wire.ts';

const NETWORK = '198.18.79'; // of the range for benchmarks, RFC 2544
const FIRST_ID = 700_000;
const SECCOMP = '/usr/share/lxc/config/common.seccomp';
const EVERY_MS = 2;
/** Where LXC finds newuidmap it insists on ranges in /etc/subuid, which root does not need. */
const ENVIRONMENT = { PATH: '/usr/sbin:/sbin', LC_ALL: 'C' };

export interface HandSystem {
  /** Milliseconds from calling `lxc-start` to its end, when the container runs, and to its first HTTP answer. */
  start(name: string): Promise<{ runningMs: number; answeredMs: number }>;
  end(): Promise<void>;
}

export async function systemByHand(): Promise<HandSystem> {
  const folder = mkdtempSync(join('/var/tmp', 'skbench-'));
  const rootfs = join(folder, 'rootfs');
  mkdirSync(rootfs);
  const wire = await makeWire(NETWORK, folder, false);
  await run('chmod', ['711', folder]);
  await run('tar', ['-C', rootfs, '-xf', LIGHTHOUSE]);
  await run('chown', ['-R', `${FIRST_ID}:${FIRST_ID}`, rootfs]);
  const config = join(folder, 'config');
  const lines: [string, string][] = [
    ['lxc.rootfs.path', `dir:${rootfs}`],
    ['lxc.autodev', '1'],
    ['lxc.tty.max', '0'],
    ['lxc.apparmor.profile', 'unconfined'],
    ...(existsSync(SECCOMP) ? ([['lxc.seccomp.profile', SECCOMP]] as [string, string][]) : []),
    ['lxc.mount.auto', 'proc:mixed sys:mixed cgroup:mixed'],
    ['lxc.idmap', `u 0 ${FIRST_ID} 65536`],
    ['lxc.idmap', `g 0 ${FIRST_ID} 65536`],
    ['lxc.net.0.type', 'veth'],
    ['lxc.net.0.link', wire.bridge],
    ['lxc.net.0.flags', 'up'],
    ['lxc.net.0.ipv4.address', `${NETWORK}.2/24`],
    ['lxc.net.0.ipv4.gateway', `${NETWORK}.1`],
    ...(existsSync('/sys/fs/cgroup/memory')
      ? ([
          ['lxc.cgroup.memory.limit_in_bytes', '67108864'],
          ['lxc.cgroup.pids.max', '512'],
        ] as [string, string][])
      : ([
          ['lxc.cgroup2.memory.max', '67108864'],
          ['lxc.cgroup2.pids.max', '512'],
        ] as [string, string][])),
  ];
  writeFileSync(config, lines.map(([key, value]) => `${key} = ${value}\n`).join(''));
  return {
    async start(name) {
      await wire.forget();
      const begunMs = performance.now();
      const where = ['-P', folder, '-n', name];
      const runningMs = await run(
        '/usr/bin/lxc-start',
        [...where, '-f', config, '-d', '-o', join(folder, 'log')],
        ENVIRONMENT,
      );
      try {
        return { runningMs, answeredMs: (await firstAnswer(`${NETWORK}.2`, '/healthz', EVERY_MS)) - begunMs };
      } finally {
        await run('lxc-stop', [...where, '-k']).catch(() => undefined);
        await run('lxc-wait', [...where, '-s', 'STOPPED', '-t', '10']).catch(() => undefined);
      }
    },
    async end() {
      await wire.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
