/** What is mounted in a container: the kernel's file systems, the files that name it, its volumes. Pure. */
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';
import type { GuestFiles } from './guest-files.ts';

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const SCRATCH_BYTES = 64 * 1024 * 1024;

const KERNEL: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${SCRATCH_BYTES}`],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
];
const SYS: OciMount = {
  destination: '/sys',
  type: 'sysfs',
  source: 'sysfs',
  options: ['nosuid', 'noexec', 'nodev', 'ro'],
};
/** sysfs belongs to the network namespace: who does not own that can only look at the host's. */
const SYS_MAPPED: OciMount = {
  destination: '/sys',
  type: 'bind',
  source: '/sys',
  options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'],
};
const CGROUP: OciMount = {
  destination: '/sys/fs/cgroup',
  type: 'cgroup',
  source: 'cgroup',
  options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
};

const scratch = (destination: string, mode: string): OciMount => ({
  destination,
  type: 'tmpfs',
  source: 'tmpfs',
  options: ['nosuid', 'nodev', `mode=${mode}`, `size=${SCRATCH_BYTES}`],
});
const bind = (destination: string, source: string, readOnly: boolean): OciMount => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', 'nosuid', 'nodev', readOnly ? 'ro' : 'rw'],
});

export function ociMounts(guest: GuestSpec, files: GuestFiles): OciMount[] {
  for (const volume of guest.volumes) {
    if (!volume.mount.startsWith('/') || volume.mount.split('/').includes('..')) {
      throw new SkerryError(
        'unsupported',
        `a volume can not be mounted at "${volume.mount}": give an absolute path`,
      );
    }
  }
  return [
    ...KERNEL,
    ...(guest.security.userNamespace ? [SYS_MAPPED] : [SYS, CGROUP]),
    ...(guest.security.readOnlyRoot ? [scratch('/tmp', '1777'), scratch('/run', '755')] : []),
    // Writable for the guest, as everywhere; they are its own copies.
    bind('/etc/resolv.conf', files.resolvConf, false),
    bind('/etc/hosts', files.hosts, false),
    bind('/etc/hostname', files.hostname, false),
    ...guest.volumes.map((volume) => bind(volume.mount, volume.hostPath, volume.readOnly)),
  ];
}
