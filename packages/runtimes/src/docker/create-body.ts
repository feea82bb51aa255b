/**
 * From a guest's spec and its image's defaults to what `POST /containers/create` takes: the same walls and limits as on
 * containerd, in this engine's words. Pure.
 */
import { SkerryError } from '@skerry/model';
import { capabilitySet } from '../containerd/capabilities.ts';
import type { ImageDefaults } from '../containerd/image-facts.ts';
import {
  commandOf,
  environmentOf,
  MASKED,
  NETWORK_SYSCTLS,
  OPEN_FILES,
  READ_ONLY,
} from '../containerd/oci-spec.ts';
import { seccompProfile } from '../containerd/seccomp.ts';
import type { GuestSpec } from '../port.ts';
import type { EngineFacts } from './engine-facts.ts';
import { labelsOf } from './names.ts';

const MiB = 1024 * 1024;
/** `exec`: Docker adds noexec to what is not told. */
const SCRATCH = `rw,exec,nosuid,nodev,size=${64 * MiB}`;

/** The default of pid_max (proc(5)): Podman allows neither itself nor its containers more. */
const PROCESSES = 32_768;
const limit = (Name: string, most: number) => ({ Name, Soft: most, Hard: most });

export interface CreateInput {
  readonly guest: GuestSpec;
  readonly identityId: string;
  readonly image: ImageDefaults;
  /** Name of the image in the engine. */
  readonly imageName: string;
  readonly facts: Pick<EngineFacts, 'flavour' | 'cgroupfs'>;
  /** Of this data folder; not used where systemd makes the groups. */
  readonly cgroup: string;
  /** Podman reads the filter from a file: its path. */
  readonly seccompPath?: string;
  readonly swapLimit: boolean;
  readonly openFiles: number;
  readonly processes: number;
}

/** As Podman itself tells. */
const isRoot = (user: string): boolean => /^(|0|root)(:|$)/.test(user);

export function createBody(input: CreateInput): object {
  const { guest, image, openFiles } = input;
  const { security, network } = guest;
  for (const { mount } of guest.volumes)
    if (!mount.startsWith('/') || mount.split('/').includes('..'))
      throw new SkerryError(
        'unsupported',
        `a volume can not be mounted at "${mount}": give an absolute path`,
      );
  const capabilities = capabilitySet(security.capabilities);
  // Podman asks for more than some machines allow; the limit that counts is that of the group.
  const processes = Math.min(PROCESSES, input.processes);
  const podman = input.facts.flavour === 'podman';
  const files = Math.min(OPEN_FILES, openFiles);
  // Podman leaves the primary group out of the groups of a root that is not named.
  const user = security.user ?? (podman && !image.user ? '0' : undefined);
  return {
    Image: input.imageName,
    Hostname: guest.name,
    Entrypoint: commandOf(guest, image),
    Cmd: [],
    Env: environmentOf(guest, image),
    WorkingDir: guest.workingDir ?? image.workingDir ?? '/',
    ...(user === undefined ? {} : { User: user }),
    Labels: labelsOf(input.identityId, guest),
    HostConfig: {
      // The engine's own networks are not used. Podman takes the namespace that was prepared; to Docker's container the
      // interface is handed over when its first process is there.
      NetworkMode: network?.kind === 'netns' && podman ? `ns:${network.path}` : 'none',
      ...(network
        ? {
            Dns: [network.dns],
            DnsOptions: ['ndots:0'],
            DnsSearch: ['.'],
            ExtraHosts: [`${guest.name}:${network.address}`],
          }
        : {}),
      Sysctls: NETWORK_SYSCTLS,
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '5m', 'max-file': '2' } },
      NanoCpus: Math.max(10_000_000, Math.round(guest.cpus * 1e9)),
      CpuShares: Math.max(2, Math.round(guest.cpus * 1024)),
      Memory: guest.memoryBytes,
      ...(input.swapLimit ? { MemorySwap: guest.memoryBytes } : {}),
      PidsLimit: guest.pids,
      Ulimits: [limit('nofile', files), ...(podman ? [limit('nproc', processes)] : [])],
      ReadonlyRootfs: security.readOnlyRoot,
      ...(security.readOnlyRoot
        ? { Tmpfs: { '/tmp': `${SCRATCH},mode=1777`, '/run': `${SCRATCH},mode=755` } }
        : {}),
      CapDrop: ['ALL'],
      // Podman would give another user than root what is added as ambient capabilities: those of no use elsewhere.
      CapAdd: podman && !isRoot(security.user ?? image.user ?? '') ? [] : capabilities,
      SecurityOpt: ['no-new-privileges', `seccomp=${input.seccompPath ?? seccompText(security)}`],
      CgroupnsMode: 'private',
      MaskedPaths: MASKED,
      ReadonlyPaths: READ_ONLY,
      Mounts: guest.volumes.map(({ hostPath, mount, readOnly }) => ({
        ...{ Type: 'bind', Source: hostPath, Target: mount, ReadOnly: readOnly },
        BindOptions: { Propagation: 'rprivate' },
      })),
      ...(guest.diskBytes === undefined ? {} : { StorageOpt: { size: String(guest.diskBytes) } }),
      ...(input.facts.cgroupfs ? { CgroupParent: input.cgroup } : {}),
      ShmSize: 64 * MiB,
    },
  };
}

/** The same filter as on containerd; these engines want `args` to be there. */
export function seccompText({ capabilities }: Pick<GuestSpec['security'], 'capabilities'>): string {
  const profile = seccompProfile(capabilitySet(capabilities));
  const syscalls = profile.syscalls.map((rule) => ({ ...rule, args: rule.args ?? [] }));
  return JSON.stringify({ ...profile, syscalls });
}
