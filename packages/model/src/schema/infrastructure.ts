/** Project, Node, Volume and Image. */
import Type, { type Static } from 'typebox';
import { closed, manifest, Name, resource, Size, Timestamp } from './shared.ts';

export const ProjectSpec = Type.Object(
  {
    description: Type.Optional(Type.String({ maxLength: 1024 })),
    quota: Type.Optional(
      Type.Object(
        {
          cpus: Type.Optional(Type.Number({ minimum: 0 })),
          memory: Type.Optional(Size),
          instances: Type.Optional(Type.Integer({ minimum: 0 })),
        },
        closed,
      ),
    ),
    devices: Type.Optional(
      Type.Object(
        {
          authorities: Type.Optional(
            Type.Array(
              Type.String({ minLength: 1, maxLength: 65_536, description: 'A certificate in PEM' }),
              {
                minItems: 1,
                maxItems: 16,
              },
            ),
          ),
          enrolment: Type.Optional(Type.Enum(['manual', 'automatic'])),
        },
        closed,
      ),
    ),
  },
  closed,
);
export const ProjectManifest = manifest('Project', ProjectSpec);
export const Project = resource('Project', ProjectSpec, Type.Object({ instances: Type.Integer() }));
export type Project = Static<typeof Project>;

export const VolumeSpec = Type.Object({ size: Size }, closed);
export const VolumeManifest = manifest('Volume', VolumeSpec);
export const Volume = resource(
  'Volume',
  VolumeSpec,
  Type.Object({
    phase: Type.Enum(['pending', 'ready', 'failed']),
    node: Type.Optional(Type.String()),
    reason: Type.Optional(Type.String()),
    usedBy: Type.Array(Type.String()),
  }),
);
export type Volume = Static<typeof Volume>;

export const Finding = Type.Object({
  name: Type.String(),
  ok: Type.Boolean(),
  level: Type.Enum(['ok', 'degraded', 'missing']),
  text: Type.String(),
  remedy: Type.Optional(Type.String()),
});
export const Taint = Type.Object(
  { key: Type.String({ minLength: 1, maxLength: 63 }), value: Type.Optional(Type.String({ maxLength: 63 })) },
  closed,
);
export const NodeSpec = Type.Object(
  {
    unschedulable: Type.Optional(Type.Boolean()),
    drain: Type.Optional(Type.Boolean()),
    site: Type.Optional(Name),
    taints: Type.Optional(Type.Array(Taint, { maxItems: 32 })),
  },
  closed,
);
export const NodeStatus = Type.Object({
  phase: Type.Enum(['ready', 'lost']),
  arch: Type.String(),
  version: Type.String(),
  kernel: Type.String(),
  subnet: Type.String({ description: 'CIDR of the node network; its first address is the gateway' }),
  subnet6: Type.Optional(
    Type.String({ description: 'The /64 of IPv6 beside it; absent: its guests have IPv4 only' }),
  ),
  underlay: Type.Optional(
    Type.String({
      description: 'IPv4 address at which other nodes reach it, for packets between their guests',
    }),
  ),
  networks: Type.Optional(
    Type.Array(Name, {
      description: 'Besides the node network: those that virtual machines may have a card on',
    }),
  ),
  capacity: Type.Object({ cpus: Type.Number(), memoryBytes: Type.Integer(), diskBytes: Type.Integer() }),
  allocated: Type.Object({ cpus: Type.Number(), memoryBytes: Type.Integer(), instances: Type.Integer() }),
  findings: Type.Array(Finding),
  bootedAt: Type.Optional(Timestamp),
});
export const NodeManifest = manifest('Node', NodeSpec);
export type NodeStatus = Static<typeof NodeStatus>;
export const Node = resource('Node', NodeSpec, NodeStatus);
export type Node = Static<typeof Node>;

/** What a look into the file recognised. */
export const IMAGE_KINDS = [
  'container',
  'unikernel',
  'function',
  'disk',
  'iso',
  'rootfs',
  'initramfs',
] as const;
export const ImageStatus = Type.Object({
  kind: Type.Enum([...IMAGE_KINDS]),
  /** The digest of the manifest (container) or of the file (unikernel, function): `sha256:…`. Names and tags lead to it. */
  digest: Type.String(),
  sizeBytes: Type.Integer(),
  arch: Type.Optional(Type.String()),
  source: Type.String({ description: 'Where it came from: import, pull REFERENCE, function' }),
  /** Everything that was recognised, for people and programs. */
  facts: Type.Record(Type.String(), Type.Unknown()),
});
export const Image = resource('Image', Type.Object({ reference: Type.String() }), ImageStatus);
export type Image = Static<typeof Image>;
