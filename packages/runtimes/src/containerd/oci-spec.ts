/**
 * From a guest's spec and its image's defaults to the runtime specification that runc gets
 * (github.com/opencontainers/runtime-spec, config.md and config-linux.md). Pure: same input, same output.
 */
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { capabilitySet } from './capabilities.ts';
import type { GuestFiles } from './guest-files.ts';
import type { ImageDefaults } from './image-facts.ts';
import { USER_NAMESPACE } from './layer-source.ts';
import { ociMounts } from './oci-mounts.ts';
import type { OciUser } from './oci-user.ts';
import { seccompProfile } from './seccomp.ts';

const CPU_PERIOD_US = 100_000; // the kernel's default (sched-bwc.rst)
/** Open files of a container where the host's own limit allows as many. */
export const OPEN_FILES = 65_536;
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]; // prettier-ignore
export const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/**
 * The network namespace is the guest's own: any of its users may use low ports and ping. A mapped user can not set it from
 * inside, so for those it is set from outside.
 */
export const NETWORK_SYSCTLS = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
} as const;

export interface SpecInput {
  readonly guest: GuestSpec;
  readonly image: ImageDefaults;
  readonly user: OciUser;
  readonly files: GuestFiles;
  /** `/skerry-<id>/<uid>`. */
  readonly cgroup: string;
  /** Whether the kernel counts swap per group. */
  readonly swapLimit: boolean;
  readonly openFiles: number;
}

/** Arguments as Docker combines them: a command replaces the entrypoint and drops the image's arguments. */
export function commandOf(guest: Pick<GuestSpec, 'command' | 'args'>, image: ImageDefaults): string[] {
  const given = guest.command && guest.command.length > 0 ? guest.command : undefined;
  const entrypoint = given ?? image.entrypoint ?? [];
  const args = guest.args ?? (given ? [] : (image.cmd ?? []));
  const all = [...entrypoint, ...args];
  if (all.length === 0) {
    throw new SkerryError('image_invalid', 'the image names no command to run: give one in the manifest');
  }
  return all;
}

export function environmentOf(guest: Pick<GuestSpec, 'env' | 'name'>, image: ImageDefaults): string[] {
  const merged = new Map<string, string>();
  const set = (text: string) => merged.set(text.split('=', 1)[0]!, text);
  set(DEFAULT_PATH);
  set(`HOSTNAME=${guest.name}`);
  for (const text of image.env ?? []) set(text);
  for (const [name, value] of Object.entries(guest.env)) set(`${name}=${value}`);
  return [...merged.values()];
}

/** The process part, shared with `exec`. */
export function processSpec(input: SpecInput) {
  const capabilities = capabilitySet(input.guest.security.capabilities);
  return {
    user: input.user,
    env: environmentOf(input.guest, input.image),
    cwd: input.guest.workingDir ?? input.image.workingDir ?? '/',
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: input.openFiles, soft: input.openFiles }],
    noNewPrivileges: true,
  };
}

function namespaces(guest: GuestSpec) {
  return [
    ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
    // A mapped guest's must belong to its user namespace, or nothing could be executed in it later (setns(2)): runc makes
    // it, and the interface is handed over before the start.
    guest.network?.kind === 'netns' && !guest.security.userNamespace
      ? { type: 'network', path: guest.network.path }
      : { type: 'network' },
    ...(guest.security.userNamespace ? [{ type: 'user' }] : []),
  ];
}

function resources(input: SpecInput) {
  const { cpus, memoryBytes, pids } = input.guest;
  return {
    devices: [{ allow: false, access: 'rwm' }],
    cpu: {
      shares: Math.max(2, Math.round(cpus * 1024)),
      quota: Math.max(1000, Math.round(cpus * CPU_PERIOD_US)),
      period: CPU_PERIOD_US,
    },
    memory: { limit: memoryBytes, ...(input.swapLimit ? { swap: memoryBytes } : {}) },
    pids: { limit: pids },
  };
}

export function runtimeSpec(input: SpecInput): object {
  const { guest, files } = input;
  const mapped = guest.security.userNamespace;
  const mapping = [{ containerID: 0, hostID: USER_NAMESPACE.firstHostId, size: USER_NAMESPACE.size }];
  return {
    ociVersion: '1.0.2',
    process: { ...processSpec(input), args: commandOf(guest, input.image) },
    root: { path: 'rootfs', readonly: guest.security.readOnlyRoot },
    hostname: guest.name,
    mounts: ociMounts(guest, files),
    linux: {
      cgroupsPath: input.cgroup,
      namespaces: namespaces(guest),
      ...(mapped ? { uidMappings: mapping, gidMappings: mapping } : {}),
      resources: resources(input),
      ...(mapped ? {} : { sysctl: NETWORK_SYSCTLS }),
      seccomp: seccompProfile(capabilitySet(guest.security.capabilities)),
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
    },
  };
}
