/** Workload: what a user asks for. `spec` is the manifest's; `control` belongs to the verbs start, stop and restart. */
import Type, { type Static } from 'typebox';
import { MOST_CARDS } from '../network-cards.ts';
import { RUNTIME_KINDS } from '../runtime-kinds.ts';
import {
  API_VERSION,
  Bandwidth,
  closed,
  Duration,
  Labels,
  Metadata,
  manifest,
  Name,
  Size,
  Timestamp,
} from './shared.ts';

const PortNumber = Type.Integer({ minimum: 1, maximum: 65535 });
const Command = Type.Array(Type.String(), { minItems: 1, maxItems: 256 });

export const Port = Type.Object(
  {
    name: Name,
    port: PortNumber,
    protocol: Type.Optional(Type.Enum(['tcp', 'udp'], { default: 'tcp' })),
    publish: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65535,
        description: 'A port of the node that leads to this one; for one replica only',
      }),
    ),
  },
  closed,
);

export const Health = Type.Object(
  {
    http: Type.Optional(
      Type.Object({ port: PortNumber, path: Type.Optional(Type.String({ pattern: '^/' })) }, closed),
    ),
    tcp: Type.Optional(Type.Object({ port: PortNumber }, closed)),
    exec: Type.Optional(Type.Object({ command: Command }, closed)),
    interval: Type.Optional(Duration),
    timeout: Type.Optional(Duration),
    failures: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100,
        description: 'Failures in a row before the guest is restarted; default 3',
      }),
    ),
    startPeriod: Type.Optional(Duration),
  },
  closed,
);

export const Resources = Type.Object(
  {
    cpus: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1024 })),
    memory: Type.Optional(Size),
    disk: Type.Optional(Size),
    pids: Type.Optional(Type.Integer({ minimum: 1, maximum: 4194304 })),
    bandwidth: Type.Optional(
      Type.Object({ in: Type.Optional(Bandwidth), out: Type.Optional(Bandwidth) }, closed),
    ),
  },
  closed,
);

export const Security = Type.Object(
  {
    readOnlyRoot: Type.Optional(Type.Boolean()),
    user: Type.Optional(
      Type.String({ pattern: '^\\d+(:\\d+)?$', description: 'uid or uid:gid inside the guest' }),
    ),
    capabilities: Type.Optional(Type.Array(Type.String({ pattern: '^CAP_[A-Z_]+$' }))),
    userNamespace: Type.Optional(Type.Boolean()),
  },
  closed,
);

/** NoCloud data of cloud-init (cloudinit.readthedocs.io, datasource NoCloud). Its user data may hold secrets: it is never logged. */
export const CloudInit = Type.Object(
  {
    userData: Type.Optional(
      Type.String({
        maxLength: 262144,
        description: 'A cloud-config, a script or what else cloud-init takes',
      }),
    ),
    networkConfig: Type.Optional(
      Type.String({ maxLength: 65536, description: 'Version 2; in place of the one that Skerry writes' }),
    ),
    sshKeys: Type.Optional(Type.Array(Type.String({ maxLength: 16384 }), { maxItems: 64 })),
  },
  closed,
);

/** A kernel from the image store in place of firmware and loader, as libvirt's `<kernel>` and Firecracker's boot source. */
export const DirectBoot = Type.Object(
  {
    kernel: Type.String({ minLength: 1, maxLength: 512, description: 'A Linux kernel in the image store' }),
    initrd: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: 'An initramfs in the image store' }),
    ),
    arguments: Type.Optional(
      Type.String({
        // COMMAND_LINE_SIZE of x86 and arm64 is 2048, with the zero at its end
        maxLength: 2047,
        pattern: '^[ -~]*$',
        description: "The kernel's command line, complete: root=/dev/vda2 console=ttyS0",
      }),
    ),
  },
  closed,
);

/** A card beside the one on the node network. */
export const NetworkCard = Type.Object(
  {
    name: Name,
    address: Type.Optional(
      Type.String({
        pattern: '^\\d+(\\.\\d+){3}/\\d+$',
        description: 'IPv4 with its prefix: 192.168.7.10/24. Default: by DHCP of that network',
      }),
    ),
    mac: Type.Optional(
      Type.String({
        // an address of one card: the lowest bit of the first byte is 0 (IEEE 802)
        pattern: '^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$',
        description: 'Default: one of its own that stays with the instance',
      }),
    ),
  },
  closed,
);

/** What only a virtual machine has. */
export const VmOptions = Type.Object(
  {
    firmware: Type.Optional(
      Type.Enum(['bios', 'uefi'], { description: 'Default: what the disk was made for' }),
    ),
    secureBoot: Type.Optional(Type.Boolean({ description: 'UEFI that starts signed loaders only' })),
    tpm: Type.Optional(Type.Boolean({ description: 'A virtual TPM 2.0 with its state kept' })),
    cpuModel: Type.Optional(
      Type.Enum(['portable', 'host'], {
        description: 'portable (default): the same on unlike hosts, so that the guest can move',
      }),
    ),
    cdrom: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: 'An ISO image in the image store' }),
    ),
    boot: Type.Optional(DirectBoot),
    networks: Type.Optional(
      Type.Array(NetworkCard, {
        maxItems: MOST_CARDS,
        description: 'Further cards, each on a network that nodes have by `--network NAME=BRIDGE`',
      }),
    ),
    cloudInit: Type.Optional(CloudInit),
  },
  closed,
);

/** What only a Linux system container has. */
export const SystemOptions = Type.Object(
  {
    init: Type.Optional(
      Type.String({ pattern: '^/', description: 'Default: the init of the root file system' }),
    ),
    nesting: Type.Optional(Type.Boolean({ description: 'Containers may run inside' })),
  },
  closed,
);

const AffinityTerm = Type.Object(
  {
    workload: Name,
    at: Type.Optional(
      Type.Enum(['node', 'site'], { description: 'On the same node (default), or at its site' }),
    ),
  },
  closed,
);

export const Placement = Type.Object(
  {
    near: Type.Optional(
      Type.Object(
        {
          accessPoints: Type.Optional(Type.Array(Name)),
          clients: Type.Optional(Labels),
          devices: Type.Optional(Labels),
        },
        closed,
      ),
    ),
    maxLatency: Type.Optional(Duration),
    spread: Type.Optional(Type.Enum(['site', 'node'])),
    nodeSelector: Type.Optional(Labels),
    rebalance: Type.Optional(
      Type.Enum(['manual', 'automatic'], {
        description: 'Whether it moves by itself when another node comes to be nearer; default manual',
      }),
    ),
    accelerated: Type.Optional(
      Type.Boolean({ description: 'Only where the processor runs the guest, and nothing emulates it' }),
    ),
    affinity: Type.Optional(Type.Array(AffinityTerm, { maxItems: 16 })),
    antiAffinity: Type.Optional(Type.Array(AffinityTerm, { maxItems: 16 })),
    tolerations: Type.Optional(
      Type.Array(
        Type.Object(
          {
            key: Type.String({ minLength: 1, maxLength: 63 }),
            value: Type.Optional(Type.String({ maxLength: 63 })),
          },
          closed,
        ),
        { maxItems: 32 },
      ),
    ),
    replaceAfter: Type.Optional(Duration),
  },
  closed,
);

/** In place of a number of replicas: so many at each site, for as long as it is wanted there. */
export const PerSite = Type.Object(
  {
    perSite: Type.Integer({ minimum: 1, maximum: 100, description: 'Instances at each of the sites' }),
    where: Type.Optional(
      Type.Enum(['clients', 'nodes'], {
        description:
          'clients (default): the sites nearest to clients that are attached; nodes: every site with a node that takes it',
      }),
    ),
    sites: Type.Optional(Labels),
    keepFor: Type.Optional(Duration),
  },
  closed,
);
export type PerSite = Static<typeof PerSite>;

export const WorkloadSpec = Type.Object(
  {
    runtime: Type.Enum([...RUNTIME_KINDS]),
    image: Type.String({ minLength: 1, maxLength: 512 }),
    replicas: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 1000 }), PerSite])),
    resources: Type.Optional(Resources),
    command: Type.Optional(Command),
    args: Type.Optional(Type.Array(Type.String(), { maxItems: 256 })),
    workingDir: Type.Optional(Type.String({ pattern: '^/' })),
    env: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), Type.String(), closed),
    ),
    ports: Type.Optional(Type.Array(Port, { maxItems: 64 })),
    volumes: Type.Optional(
      Type.Array(
        Type.Object(
          { name: Name, mount: Type.String({ pattern: '^/' }), readOnly: Type.Optional(Type.Boolean()) },
          closed,
        ),
        { maxItems: 64 },
      ),
    ),
    address: Type.Optional(
      Type.Enum(['static', 'dhcp'], { description: 'How a guest with its own kernel learns its address' }),
    ),
    display: Type.Optional(Type.Boolean()),
    vm: Type.Optional(VmOptions),
    system: Type.Optional(SystemOptions),
    singleInstance: Type.Optional(
      Type.Boolean({ description: 'Never two at a time, wherever it runs; for one replica only' }),
    ),
    restart: Type.Optional(Type.Enum(['always', 'on-failure', 'never'])),
    stopGrace: Type.Optional(Duration),
    health: Type.Optional(Health),
    security: Type.Optional(Security),
    placement: Type.Optional(Placement),
    onHandover: Type.Optional(
      Type.Object(
        {
          port: PortNumber,
          path: Type.Optional(Type.String({ pattern: '^/[!-~]*$', maxLength: 1024 })),
        },
        { ...closed, description: 'Each instance is told when a client that it is near to moves' },
      ),
    ),
    priority: Type.Optional(
      Type.Integer({
        minimum: -1000,
        maximum: 1000,
        description: 'Above 0: instances of less priority end for it where there is no room; default 0',
      }),
    ),
    move: Type.Optional(Type.Enum(['live', 'restart', 'never'])),
    sim: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean()]), {
        description: 'Timings and faults of the sim runtime',
      }),
    ),
  },
  closed,
);
export type WorkloadSpec = Static<typeof WorkloadSpec>;

/** Only the verbs, and placement (`epoch`), change it. Counters rise and never fall, so that a late or repeated delivery is harmless. */
export const WorkloadControl = Type.Object({
  run: Type.Enum(['running', 'stopped']),
  restarts: Type.Integer(),
  rebuilds: Type.Integer(),
  /** Of a single instance: rises with each copy that is given a node. */
  epoch: Type.Optional(Type.Integer()),
});
export type WorkloadControl = Static<typeof WorkloadControl>;

/** What a workload with `replicas.perSite` has at one site. Stored: which instances these are, and since when nobody wants them, must outlive the controller. */
export const SiteReplicas = Type.Object({
  site: Type.String(),
  wanted: Type.Integer({ description: '0: nobody wants it there any more' }),
  ready: Type.Integer(),
  ordinals: Type.Array(Type.Integer(), { description: 'The numbers in the names of its instances' }),
  unwantedSince: Type.Optional(Timestamp),
});
export type SiteReplicas = Static<typeof SiteReplicas>;

export const WorkloadStatus = Type.Object({
  observedGeneration: Type.Integer(),
  replicas: Type.Integer(),
  ready: Type.Integer(),
  serviceAddress: Type.Optional(
    Type.String({
      description:
        'Virtual IPv4 address of its ports: at every node it leads to the nearest healthy instance',
    }),
  ),
  /** With `replicas.perSite`, by the name of the site. */
  sites: Type.Optional(Type.Array(SiteReplicas)),
  /** Why not all replicas are ready, in a sentence. */
  reason: Type.Optional(Type.String()),
  /** The image that the name stood for when the spec was accepted: `sha256:…`. */
  imageDigest: Type.Optional(Type.String()),
  /** Likewise of `spec.vm.cdrom`, and of kernel and initrd in `spec.vm.boot`. */
  cdromDigest: Type.Optional(Type.String()),
  kernelDigest: Type.Optional(Type.String()),
  initrdDigest: Type.Optional(Type.String()),
});
export type WorkloadStatus = Static<typeof WorkloadStatus>;

export const WorkloadManifest = manifest('Workload', WorkloadSpec);
export const Workload = Type.Object({
  apiVersion: Type.Literal(API_VERSION),
  kind: Type.Literal('Workload'),
  metadata: Metadata,
  spec: WorkloadSpec,
  control: WorkloadControl,
  status: WorkloadStatus,
});
export type Workload = Static<typeof Workload>;
