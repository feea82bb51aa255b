/** Schemas of answers and requests that are no resources. */
import {
  AccessPoint,
  API_VERSION,
  Client,
  Device,
  Event,
  Finding,
  Image,
  Instance,
  Link,
  Name,
  Node,
  Operation,
  Project,
  Site,
  SiteReplicas,
  Size,
  Stream,
  Volume,
  Workload,
} from '@skerry/model/schema';
import Type, { type TSchema } from 'typebox';

export const Problem = Type.Object({
  type: Type.String({ description: 'A URI that stands for the kind of problem' }),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String({ description: 'What failed and why' }),
  code: Type.String({ description: 'Stable, for programs to compare' }),
  remedy: Type.String({ description: 'What to do about it' }),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});

const listOf = <T extends TSchema>(items: T) =>
  Type.Object({
    items: Type.Array(items),
    revision: Type.Integer({ description: 'Watch from here to miss nothing' }),
    cursor: Type.Optional(Type.String({ description: 'Of the next page; absent at the end' })),
  });
export const ProjectList = listOf(Project);
export const WorkloadList = listOf(Workload);
export const InstanceList = listOf(Instance);
export const ImageList = listOf(Image);
export const VolumeList = listOf(Volume);
export const SiteList = listOf(Site);
export const AccessPointList = listOf(AccessPoint);
export const LinkList = listOf(Link);
export const ClientList = listOf(Client);
export const DeviceList = listOf(Device);
export const StreamList = listOf(Stream);
export const NodeList = listOf(Node);
export const OperationList = listOf(Operation);
export const EventList = Type.Object({
  items: Type.Array(Event),
  sequence: Type.Integer({
    description: 'Of the last event in the answer; pass it as `since` for those after it',
  }),
  oldest: Type.Integer({ description: 'Sequence number of the oldest event that is kept' }),
});

/** One thing that applying would do or did, in words that a program may compare. */
export const Step = Type.Object({
  action: Type.Enum(['create', 'update', 'replace', 'delete', 'restart', 'start', 'stop']),
  kind: Type.String(),
  name: Type.String(),
  text: Type.String(),
  why: Type.Optional(Type.Array(Type.String(), { description: 'In a plan: for every node why, or why not' })),
});
export const Applied = Type.Object({
  kind: Type.String(),
  project: Type.Optional(Type.String()),
  name: Type.String(),
  line: Type.Integer({ description: 'Of the document in the file' }),
  outcome: Type.Enum(['created', 'changed', 'unchanged', 'deleted', 'absent']),
  generation: Type.Optional(
    Type.Integer({ description: 'Of the resource; wait for it in status.observedGeneration' }),
  ),
  steps: Type.Array(Step),
});
export const ApplyResult = Type.Object({
  dryRun: Type.Boolean(),
  revision: Type.Integer(),
  documents: Type.Array(Applied),
});

export const Latency = Type.Object({
  from: Type.String({ description: 'The node that measures' }),
  kind: Type.Enum(['node', 'client']),
  to: Type.String(),
  by: Type.Enum(['icmp', 'tcp'], {
    description: 'Echoes; or what the kernel knows of connections, for a client that answers none',
  }),
  measuredMs: Type.Number({ description: 'One way: half of the median of the last round trips' }),
  leastMs: Type.Number({ description: 'One way: half of the quickest of them' }),
  modelledMs: Type.Optional(Type.Number({ description: 'One way, over the links of the model' })),
  lossShare: Type.Number(),
  ageMs: Type.Integer({ description: 'Since it was measured' }),
});
export const LatencyList = Type.Object({ items: Type.Array(Latency) });

export const Rebalance = Type.Object({
  moves: Type.Array(
    Type.Object({
      key: Type.String({ description: 'The instance, as `default/web-0`' }),
      from: Type.String(),
      to: Type.String(),
      fromLatencyMs: Type.Number(),
      toLatencyMs: Type.Number(),
      gain: Type.Number({ description: 'Milliseconds that all its clients save in ten minutes' }),
      cost: Type.Number({ description: 'Milliseconds that all its clients are without it' }),
      because: Type.Optional(Type.String({ description: 'Why it may not stay' })),
    }),
  ),
  held: Type.Array(
    Type.Object({
      key: Type.String(),
      to: Type.String(),
      code: Type.Enum(['not_worth_it', 'too_new', 'hour_is_full']),
      text: Type.String(),
    }),
  ),
});

export const PlacementExplanation = Type.Object({
  instance: Type.String(),
  node: Type.Optional(Type.String({ description: 'Where it is' })),
  near: Type.Array(Type.Object({ accessPoint: Type.String(), weight: Type.Number() })),
  maxLatencyMs: Type.Optional(Type.Number()),
  sites: Type.Optional(Type.Array(SiteReplicas, { description: 'With `replicas.perSite`' })),
  text: Type.String({ description: 'Where it would be placed now, or why nowhere' }),
  nodes: Type.Array(
    Type.Object({
      node: Type.String(),
      site: Type.Optional(Type.String()),
      fits: Type.Boolean(),
      chosen: Type.Boolean(),
      current: Type.Boolean(),
      latencyMs: Type.Optional(Type.Number({ description: 'One way, the weighted mean of `near`' })),
      worstLatencyMs: Type.Optional(
        Type.Number({ description: 'From the farthest access point; absent: one can not reach it' }),
      ),
      reasons: Type.Array(Type.Object({ code: Type.String(), text: Type.String(), remedy: Type.String() })),
    }),
  ),
});

export const Status = Type.Object({
  apiVersion: Type.Literal(API_VERSION),
  version: Type.String(),
  node: Type.String(),
  pid: Type.Integer(),
  startedAt: Type.String({ description: 'By the time that the machine had then' }),
  uptimeMs: Type.Integer({ description: 'How long it runs, whatever the time was set to since' }),
  revision: Type.Integer(),
  nodes: Type.Object({ ready: Type.Integer(), total: Type.Integer() }),
  workloads: Type.Integer(),
  instances: Type.Record(Type.String(), Type.Integer(), { description: 'By phase' }),
  images: Type.Integer(),
  volumes: Type.Integer(),
  operations: Type.Object({ running: Type.Integer() }),
  store: Type.Object({ bytes: Type.Integer(), commits: Type.Integer(), txns: Type.Integer() }),
  memory: Type.Object({ rssBytes: Type.Integer() }),
});
export const Doctor = Type.Object({
  nodes: Type.Array(
    Type.Object({ name: Type.String(), phase: Type.String(), findings: Type.Array(Finding) }),
  ),
});

export const BuildRequest = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 512, description: 'Reference that the image is to have' }),
    source: Type.String({ minLength: 1, maxLength: 1_048_576 }),
    filename: Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'Its ending tells the language: .js, .mjs, .ts',
    }),
  },
  { additionalProperties: false },
);
export const FunctionRequest = Type.Object(
  {
    name: Name,
    source: Type.String({ minLength: 1, maxLength: 1_048_576 }),
    filename: Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'Its ending tells the language: .js, .mjs, .ts',
    }),
    replicas: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
    memory: Type.Optional(Size),
    publish: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 65535, description: 'A port of the node that leads to it' }),
    ),
  },
  { additionalProperties: false },
);
export const PullRequest = Type.Object(
  {
    reference: Type.String({ minLength: 1, maxLength: 512 }),
    insecure: Type.Optional(
      Type.Boolean({ description: 'Plain HTTP, or a certificate that nobody vouches for' }),
    ),
    auth: Type.Optional(
      Type.Object(
        { username: Type.String(), password: Type.String() },
        {
          additionalProperties: false,
          description: 'Held in memory only: a pull that is resumed after a restart does without',
        },
      ),
    ),
  },
  { additionalProperties: false },
);

export const Stats = Type.Object({
  cpuMs: Type.Number(),
  memoryBytes: Type.Integer(),
  memoryLimitBytes: Type.Optional(Type.Integer()),
  pids: Type.Optional(Type.Integer()),
  rxBytes: Type.Optional(Type.Integer()),
  txBytes: Type.Optional(Type.Integer()),
  diskBytes: Type.Optional(Type.Integer()),
});
export const Done = Type.Object({ instance: Type.String() });
export const Snapshot = Type.Object({
  name: Type.String(),
  takenAtMs: Type.Number(),
  sizeBytes: Type.Integer(),
  withMemory: Type.Boolean(),
  frozen: Type.Boolean({ description: 'The file systems inside were held still meanwhile' }),
});
export const SnapshotList = Type.Object({ items: Type.Array(Snapshot) });
export const Display = Type.Object({
  node: Type.String(),
  socket: Type.String({ description: 'A unix socket on the node that speaks VNC (RFC 6143)' }),
});
export const Screenshot = Type.Object({
  contentType: Type.Literal('image/png'),
  base64: Type.String(),
});
export const Line = Type.Object({
  atMs: Type.Number(),
  stream: Type.Enum(['stdout', 'stderr', 'console']),
  text: Type.String(),
});

export const NodeTokenRequest = Type.Object(
  {
    node: Type.Optional(Name),
    validSeconds: Type.Optional(
      Type.Integer({ minimum: 60, maximum: 30 * 86_400, description: 'Default an hour' }),
    ),
    server: Type.Optional(
      Type.String({
        pattern: '^[^\\s/]+:\\d{1,5}$',
        description: 'Where the machine finds the controller: `host:port`; by default where it listens',
      }),
    ),
  },
  { additionalProperties: false },
);
const nodeToken = {
  id: Type.String(),
  node: Type.Optional(Type.String({ description: 'The name that the machine gets' })),
  createdAt: Type.String(),
  expiresAt: Type.String(),
};
export const NodeTokenMade = Type.Object({
  ...nodeToken,
  token: Type.String({ description: 'Shown once; good for one machine' }),
});
export const NodeTokenList = Type.Object({ items: Type.Array(Type.Object(nodeToken)) });
export const NodeTokenRevoked = Type.Object({ id: Type.String() });
export const JoinRequest = Type.Object(
  {
    id: Type.String({ maxLength: 64 }),
    secret: Type.String({ maxLength: 128 }),
    node: Type.Optional(Name),
    request: Type.String({
      maxLength: 8192,
      description: 'A PKCS #10 certificate request, PEM; its key is of P-256',
    }),
    subnets: Type.Optional(
      Type.Array(Type.String({ maxLength: 18 }), {
        maxItems: 32,
        description:
          'Networks that the machine could use for its guests, as CIDR; the first that meets no other node’s is given',
      }),
    ),
  },
  { additionalProperties: false },
);
export const Joined = Type.Object({
  node: Type.String(),
  certificate: Type.String({ description: 'PEM' }),
  authority: Type.String({ description: 'PEM' }),
  subnet: Type.Optional(
    Type.String({ description: 'The one of the offered networks that the node is to use' }),
  ),
});
