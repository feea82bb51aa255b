/**
 * General checks of the machine, before anything is started: rights, programs, control groups, room. What an engine or the
 * network can really do, their own probes try; this only looks.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatBytes, type ProbeFinding } from '@skerry/model';
import { cgroupMode, readCgroup } from './cgroup.ts';
import { diskSpace, memoryInfo } from './machine.ts';
import { HOST_ENV } from './run.ts';

interface Program {
  readonly file: string;
  /** Debian's package. */
  readonly package: string;
  readonly for: string;
}

/** Every program that Skerry starts on the host. */
export const PROGRAMS: readonly Program[] = [
  { file: 'ip', package: 'iproute2', for: 'the node network' },
  { file: 'tc', package: 'iproute2', for: 'bandwidth limits' },
  { file: 'nft', package: 'nftables', for: 'published ports' },
  { file: 'conntrack', package: 'conntrack', for: 'ending connections to instances that are gone' },
  { file: 'dnsmasq', package: 'dnsmasq-base', for: 'names and leases of guests' },
  { file: 'containerd', package: 'containerd', for: 'containers' },
  { file: 'runc', package: 'runc', for: 'containers' },
  { file: 'qemu-system-x86_64', package: 'qemu-system-x86', for: 'unikernels and functions' },
  { file: 'mkfs.ext4', package: 'e2fsprogs', for: 'disk limits and volumes' },
];

const MIB = 1024 ** 2;
const LITTLE_MEMORY_BYTES = 512 * MIB; // the program, its engines and a handful of guests
const LITTLE_DISK_BYTES = 1024 * MIB; // an image or two and their logs
const LITTLE_FILES = 20_000; // one unpacked image of a distribution

export interface ExamineOptions {
  /** Folders to look for programs in, as in $PATH. Default: those that programs are started from. */
  readonly path?: string;
}

const ok = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
const degraded = (name: string, text: string, remedy: string): ProbeFinding => ({
  name,
  ok: true,
  level: 'degraded',
  text,
  remedy,
});
const missing = (name: string, text: string, remedy: string): ProbeFinding => ({
  name,
  ok: false,
  level: 'missing',
  text,
  remedy,
});

/** Where a program is, or undefined. */
export function findProgram(file: string, path: string = HOST_ENV.PATH ?? ''): string | undefined {
  return path
    .split(':')
    .map((folder) => join(folder, file))
    .find((candidate) => {
      try {
        accessSync(candidate, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function rights(): ProbeFinding {
  const uid = process.getuid?.() ?? -1;
  if (uid === 0) return ok('machine.root', 'runs as root');
  return missing('machine.root', `runs as user ${uid}, who may not make guests`, 'Start it with sudo.');
}

function programs(path: string | undefined): ProbeFinding[] {
  const lacking = PROGRAMS.filter((program) => findProgram(program.file, path) === undefined);
  if (lacking.length === 0) {
    return [ok('machine.programs', `${PROGRAMS.map((program) => program.file).join(', ')} are installed`)];
  }
  return lacking.map((program) =>
    missing(
      `machine.programs.${program.file}`,
      `${program.file} is not installed; it is for ${program.for}`,
      `apt-get install ${program.package}`,
    ),
  );
}

function controlGroups(): ProbeFinding {
  const name = 'machine.cgroups';
  const mode = cgroupMode();
  const needed = ['cpu', 'memory', 'pids'];
  const have = (controller: string) =>
    mode === 'v2'
      ? (readCgroup('/', controller, 'cgroup.controllers') ?? '').split(' ').includes(controller)
      : existsSync(`/sys/fs/cgroup/${controller}/cgroup.procs`);
  const lacking = needed.filter((controller) => !have(controller));
  if (lacking.length === 0) return ok(name, `control groups ${mode}: limits of guests are enforced`);
  return missing(
    name,
    `control groups ${mode} without ${lacking.join(', ')}: limits of guests can not be enforced`,
    'Mount the control groups, or boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory.',
  );
}

function memory(): ProbeFinding {
  const free = memoryInfo('MemAvailable');
  const text = `${formatBytes(free)} of ${formatBytes(memoryInfo('MemTotal'))} memory are free`;
  if (free >= LITTLE_MEMORY_BYTES) return ok('machine.memory', text);
  return degraded('machine.memory', text, 'Stop what is not needed; guests that do not fit are refused.');
}

function disk(dataDir: string): ProbeFinding {
  const { freeBytes, totalBytes, freeFiles } = diskSpace(dataDir);
  const text = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free where ${dataDir} lies`;
  if (freeFiles < LITTLE_FILES) {
    return degraded(
      'machine.disk',
      `${text}, but only ${freeFiles} more files`,
      'Remove files, or use another file system with --data.',
    );
  }
  if (freeBytes >= LITTLE_DISK_BYTES) return ok('machine.disk', text);
  return degraded('machine.disk', text, 'Free space, or choose another file system with --data.');
}

function devices(): ProbeFinding[] {
  const tun = existsSync('/dev/net/tun')
    ? ok('machine.tun', '/dev/net/tun is there')
    : missing(
        'machine.tun',
        'there is no /dev/net/tun: guests with their own kernel get no network',
        'modprobe tun',
      );
  const kvm = existsSync('/dev/kvm')
    ? ok('machine.kvm', '/dev/kvm is there; whether a guest starts on it, the runtime tries')
    : degraded(
        'machine.kvm',
        'there is no /dev/kvm: guests with their own kernel are emulated, which is slower',
        'Turn virtualisation on in the firmware, or in the machine that this one runs in.',
      );
  return [tun, kvm];
}

export async function examineMachine(
  dataDir: string,
  signal: AbortSignal,
  options: ExamineOptions = {},
): Promise<ProbeFinding[]> {
  signal.throwIfAborted();
  return [rights(), ...programs(options.path), controlGroups(), memory(), disk(dataDir), ...devices()];
}
