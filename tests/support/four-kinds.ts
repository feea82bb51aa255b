/** Small guests of the four kinds, their images, and what the host has of each guest: for tests of the whole program. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootDisk } from '../../packages/runtimes/src/vm/testing/boot-sector.ts';
import { type Program, ROOT } from './program.ts';

const workload = (name: string, spec: object) => ({
  apiVersion: 'skerry/v1',
  kind: 'Workload',
  metadata: { name },
  spec,
});
const HTTP = { ports: [{ name: 'http', port: 8080 }] };
const CHECKED = { ...HTTP, health: { http: { port: 8080, path: '/healthz' } } };

export const container = (name: string, greeting: string, replicas = 1) =>
  workload(name, {
    ...{ runtime: 'container', image: 'hello:1', replicas, ...CHECKED, stopGrace: '100ms' },
    ...{ resources: { cpus: 0.2, memory: '16MiB' }, env: { GREETING: greeting } },
  });
export const unikernel = (name: string, replicas = 1) =>
  workload(name, {
    ...{ runtime: 'unikernel', image: 'thermo', replicas, ...HTTP },
    resources: { cpus: 1, memory: '8MiB' },
  });
export const system = (name: string, memory: string) =>
  workload(name, {
    ...{ runtime: 'system', image: 'lighthouse:1', ...CHECKED, stopGrace: '1s' },
    resources: { cpus: 0.3, memory },
  });
/** Linux from a disk: it takes seconds to boot. */
export const machine = (name: string) =>
  workload(name, {
    ...{ runtime: 'vm', image: 'harbour:1', ...CHECKED },
    resources: { cpus: 1, memory: '128MiB' },
  });
/** A boot sector that waits for the power button: up as soon as the BIOS has read it. */
export const sector = (name: string, memory: string) =>
  workload(name, {
    ...{ runtime: 'vm', image: 'sector:1', stopGrace: '1s' },
    resources: { cpus: 0.2, memory },
  });

/** hello:1, thermo, lighthouse:1, harbour:1, sector:1. */
export async function importFourKinds(skerry: Program): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-sector-'));
  try {
    const path = join(folder, 'sector.img');
    writeFileSync(path, bootDisk('sector', 'button'));
    await skerry.run('image', 'import', path, '--name', 'sector:1');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const guests = join(ROOT, 'guests');
  await skerry.run('image', 'import', join(guests, 'hello/build/hello.tar'));
  await skerry.run('image', 'build', 'thermo', '--from', join(guests, 'pebble/functions/thermo.ts'));
  const lighthouse = join(guests, 'system-busybox/build/rootfs.tar');
  await skerry.run('image', 'import', lighthouse, '--name', 'lighthouse:1');
  await skerry.run('image', 'import', join(guests, 'vm-linux/build/disk.qcow2'), '--name', 'harbour:1');
}

/** An instance's identifier, wherever it stands. */
const UID = /(?<![0-9a-z])[0-9a-hjkmnp-tv-z]{26}(?![0-9a-z])/g;

const namesIn = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);

function commandLines(): string[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')];
      } catch {
        return []; // it has ended
      }
    });
}

/** What runs with this in its arguments: process, its parent, how it is and its arguments. For the words of a failed test. */
export function processesNaming(uid: string): string[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        if (!line.includes(uid)) return [];
        const [, state, parent] = /State:\s+(\S).*?PPid:\s+(\d+)/s.exec(
          readFileSync(`/proc/${pid}/status`, 'utf8'),
        )!;
        return [`${pid} of ${parent} ${state} ${line}`];
      } catch {
        return []; // it has ended
      }
    });
}

function groups(id: string): string[] {
  return execFileSync('find', ['/sys/fs/cgroup', '-path', `*/skerry-${id}/*`, '-type', 'd'], {
    encoding: 'utf8',
  }).split('\n');
}

/**
 * Identifiers of all guests that the host has anything of, with where: processes, control groups, mounts, namespaces, folders
 * of the data folder and of the run folder.
 */
export function guestsOnHost({ id, dataDir }: Pick<Program, 'id' | 'dataDir'>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const look = (where: string, lines: readonly string[]) => {
    for (const line of lines)
      for (const [uid] of line.matchAll(UID))
        if (!found.get(uid)?.includes(where)) found.set(uid, [...(found.get(uid) ?? []), where]);
  };
  const ours = (line: string) => line.includes(id) || line.includes(dataDir);
  look('process', commandLines().filter(ours));
  look('mount', readFileSync('/proc/self/mounts', 'utf8').split('\n').filter(ours));
  look('control group', groups(id));
  look(
    'namespace',
    namesIn('/run/netns').filter((name) => name.startsWith(`skerry-${id}-`)),
  );
  look('data', namesIn(join(dataDir, 'guests')));
  for (const kind of namesIn(`/run/skerry/${id}`))
    if (kind.length <= 2) look(`run folder ${kind}`, namesIn(join(`/run/skerry/${id}`, kind)));
  return found;
}

/** Names of the interfaces that guests of this data folder have on the host's side. */
export function guestLinks(id: string): string[] {
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' });
  return [...links.matchAll(/^\d+: ([^:@]+)/gm)]
    .map(([, name]) => name!)
    .filter((name) => new RegExp(`^sk${id}[tvi]`).test(name));
}
