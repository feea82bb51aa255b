/**
 * From a guest's spec and its image's defaults to what `POST /containers/create` takes: the same walls and limits as on
 * containerd, in this engine's words. Pure.
 */
import { SkerryError } from '@skerry/model';
import { capabilitySet } from '../containerd/capabilities.ts';
import type { ImageDefaults } from '../containerd/image-facts.ts';
import { commandOf, environmentOf, NETWORK_SYSCTLS, OPEN_FILES } from '../containerd/oci-spec.ts';
import { seccompProfile } from '../containerd/seccomp.ts';
import type { GuestSpec } from '../port.ts';
import { labelsOf } from './names.ts';

const MiB = 1024 * 1024;
const SCRATCH = `rw,nosuid,nodev,size=${64 * MiB}`;

export interface CreateInput {
  readonly guest: GuestSpec;
  readonly identityId: string;
  readonly image: ImageDefaults;
  /** Name of the image in the engine. */
  readonly imageName: string;
  /** Absent where the engine puts groups by systemd. */
  readonly cgroupParent?: string;
  readonly swapLimit: boolean;
  readonly openFiles: number;
}

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
  const files = Math.min(OPEN_FILES, openFiles);
  return {
    Image: input.imageName,
    Hostname: guest.name,
    Entrypoint: commandOf(guest, image),
    Cmd: [],
    Env: environmentOf(guest, image),
    WorkingDir: guest.workingDir ?? image.workingDir ?? '/',
    ...(security.user === undefined ? {} : { User: security.user }),
    Labels: labelsOf(input.identityId, guest),
    HostConfig: {
      // The engine's own networks are not used: the interface is handed over when the process is there.
      NetworkMode: 'none',
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
      Ulimits: [{ Name: 'nofile', Soft: files, Hard: files }],
      ReadonlyRootfs: security.readOnlyRoot,
      ...(security.readOnlyRoot
        ? { Tmpfs: { '/tmp': `${SCRATCH},mode=1777`, '/run': `${SCRATCH},mode=755` } }
        : {}),
      CapDrop: ['ALL'],
      CapAdd: capabilities,
      SecurityOpt: ['no-new-privileges', `seccomp=${JSON.stringify(dockerProfile(capabilities))}`],
      Mounts: guest.volumes.map(({ hostPath, mount, readOnly }) => ({
        ...{ Type: 'bind', Source: hostPath, Target: mount, ReadOnly: readOnly },
        BindOptions: { Propagation: 'rprivate' },
      })),
      ...(guest.diskBytes === undefined ? {} : { StorageOpt: { size: String(guest.diskBytes) } }),
      ...(input.cgroupParent === undefined ? {} : { CgroupParent: input.cgroupParent }),
      ShmSize: 64 * MiB,
    },
  };
}

/** The same filter; this engine wants `args` to be there. */
function dockerProfile(capabilities: readonly string[]): object {
  const profile = seccompProfile(capabilities);
  return { ...profile, syscalls: profile.syscalls.map((rule) => ({ ...rule, args: rule.args ?? [] })) };
}
