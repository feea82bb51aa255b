/** LXC's configuration of one guest (lxc.container.conf(5)). Pure. */
import type { CgroupMode } from '@skerry/host';
import { MAPPED_IDS } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import { DEVICES, droppedCapabilities } from './rights.ts';

export interface ConfigFacts {
  readonly rootfs: string;
  readonly seccompPath: string;
  /** Group of the guest and, beside the payload, of its monitor: without a leading `/`. */
  readonly payload: string;
  readonly monitor: string;
  readonly cgroupMode: CgroupMode;
  readonly firstId?: number;
  readonly hasAppArmor: boolean;
}

/** A value of a line; what would begin another line is refused. */
function plain(value: string, what: string): string {
  if (/[\n\0]/.test(value))
    throw new SkerryError('unsupported', `${what} of a system container can not have several lines`);
  return value;
}

function network({ network }: GuestSpec, mapped: boolean): [string, string][] {
  if (network?.kind !== 'netns') return [['lxc.net.0.type', 'empty']];
  if (!mapped)
    return [
      ['lxc.net.0.type', 'none'],
      ['lxc.namespace.share.net', network.path],
    ];
  // Its user namespace has to own its network namespace: the interface moves into one of its own.
  return [
    ['lxc.net.0.type', 'phys'],
    ['lxc.net.0.link', 'eth0'],
    ['lxc.net.0.name', 'eth0'],
    ['lxc.net.0.flags', 'up'],
    ['lxc.net.0.ipv4.address', `${network.address}/${network.prefixLength}`],
    ['lxc.net.0.ipv4.gateway', network.gateway],
    ...(network.v6
      ? ([
          ['lxc.net.0.ipv6.address', `${network.v6.address}/${network.v6.prefixLength}`],
          ['lxc.net.0.ipv6.gateway', network.v6.gateway],
        ] as [string, string][])
      : []),
  ];
}

function limits(spec: GuestSpec, mode: CgroupMode): [string, string][] {
  const v2 = mode === 'v2';
  const key = (name: string) => `lxc.cgroup${v2 ? '2' : ''}.${name}`;
  return [
    [key(v2 ? 'memory.max' : 'memory.limit_in_bytes'), String(spec.memoryBytes)],
    [key('pids.max'), String(spec.pids)],
    [key('devices.deny'), 'a'],
    ...DEVICES.map((device): [string, string] => [key('devices.allow'), device]),
  ];
}

function mounts(spec: GuestSpec, mapped: boolean): [string, string][] {
  const { readOnlyRoot } = spec.security;
  const nesting = spec.system?.nesting ?? false;
  const entry = (text: string): [string, string] => ['lxc.mount.entry', text];
  const open = nesting && mapped ? 'rw' : 'mixed';
  return [
    ['lxc.mount.auto', `proc:${open} sys:${open} cgroup:mixed`],
    ...(readOnlyRoot
      ? [
          entry('tmpfs run tmpfs nosuid,nodev,mode=0755 0 0'),
          entry('tmpfs tmp tmpfs nosuid,nodev,mode=1777 0 0'),
        ]
      : []),
    // The kernel lets a namespace inside mount proc and sysfs where an unmasked one is in sight (fs/namespace.c, mount_too_revealing).
    ...(nesting
      ? [
          entry('proc dev/.lxc/proc proc create=dir,optional 0 0'),
          entry('sys dev/.lxc/sys sysfs create=dir,optional 0 0'),
        ]
      : []),
  ];
}

/** Errors: unsupported with what can not be had. */
export function lxcConfig(spec: GuestSpec, facts: ConfigFacts): string {
  const mapped = facts.firstId !== undefined;
  const user = spec.security.user;
  const ids = user === undefined ? undefined : /^(\d{1,9})(?::(\d{1,9}))?$/.exec(user);
  if (ids === null)
    throw new SkerryError(
      'unsupported',
      'a system container starts as a user of a number: `1000`, `1000:1000`',
    );
  const lines: [string, string][] = [
    ['lxc.uts.name', plain(spec.name, 'the name')],
    ['lxc.rootfs.path', `dir:${facts.rootfs}`],
    ['lxc.autodev', '1'],
    ['lxc.tty.max', '0'],
    ['lxc.pty.max', '1024'],
    ['lxc.apparmor.profile', facts.hasAppArmor && !spec.system?.nesting ? 'generated' : 'unconfined'],
    ['lxc.seccomp.profile', facts.seccompPath],
    ['lxc.cap.drop', droppedCapabilities(spec.security.capabilities).join(' ')],
    ['lxc.cgroup.dir.container', facts.payload],
    ['lxc.cgroup.dir.monitor', facts.monitor],
    ...network(spec, mapped),
    ...limits(spec, facts.cgroupMode),
    ...mounts(spec, mapped),
    ...(mapped
      ? (['u', 'g'].map((kind) => ['lxc.idmap', `${kind} 0 ${facts.firstId} ${MAPPED_IDS}`]) as [
          string,
          string,
        ][])
      : []),
    ...Object.entries(spec.env).map(([name, value]): [string, string] => [
      'lxc.environment',
      plain(`${name}=${value}`, `the variable ${name}`),
    ]),
    ...(spec.workingDir === undefined
      ? []
      : [['lxc.init.cwd', plain(spec.workingDir, 'the working folder')] as [string, string]]),
    ...(ids
      ? ([
          ['lxc.init.uid', ids[1]!],
          ['lxc.init.gid', ids[2] ?? ids[1]!],
        ] as [string, string][])
      : []),
  ];
  return lines.map(([key, value]) => `${key} = ${value}\n`).join('');
}
