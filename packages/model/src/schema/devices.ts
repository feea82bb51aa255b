/**
 * Devices, which send data, and streams, which process it where it is made. Both belong to a project. What a device sends
 * never enters the store: only what people wish (these specs) and, seldom, what a device last reported of itself.
 */
import Type, { type Static } from 'typebox';
import { NAME_PATTERN } from '../ids.ts';
import { closed, Duration, manifest, Name, resource, Size, Timestamp } from './shared.ts';

/** As MQTT has them: `+` one level, `#` the rest; `%d` stands for the device's name. */
export const TopicPattern = Type.String({
  minLength: 1,
  maxLength: 256,
  pattern: '^[^\\u0000]+$',
  description: 'An MQTT topic filter; %d stands for the name of the device',
});

export const DEVICE_AUTH = ['password', 'certificate'] as const;
export { DEFAULT_DEVICE_TOPICS } from '../device-defaults.ts';

export const DeviceSpec = Type.Object(
  {
    attachedTo: Type.Optional(
      Type.String({ pattern: NAME_PATTERN, description: 'The access point that it comes through' }),
    ),
    auth: Type.Optional(Type.Enum([...DEVICE_AUTH])),
    topics: Type.Optional(
      Type.Object(
        {
          publish: Type.Optional(Type.Array(TopicPattern, { maxItems: 64 })),
          subscribe: Type.Optional(Type.Array(TopicPattern, { maxItems: 64 })),
        },
        closed,
      ),
    ),
    limits: Type.Optional(
      Type.Object(
        {
          messagesPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
          messageSize: Type.Optional(Size),
          queued: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
        },
        closed,
      ),
    ),
    attributes: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' }),
        Type.Union([Type.String({ maxLength: 1024 }), Type.Number(), Type.Boolean()]),
        closed,
      ),
    ),
    disabled: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type DeviceSpec = Static<typeof DeviceSpec>;
export const DeviceManifest = manifest('Device', DeviceSpec);
export const Device = resource(
  'Device',
  DeviceSpec,
  Type.Object({
    connected: Type.Boolean(),
    node: Type.Optional(Type.String({ description: 'Where it is connected, or was last' })),
    lastSeen: Type.Optional(Timestamp),
    /** How it proves who it is: when that was last made anew. Never the secret. */
    credentials: Type.Optional(
      Type.Object({ rotatedAt: Timestamp, fingerprint: Type.Optional(Type.String()) }),
    ),
  }),
);
export type Device = Static<typeof Device>;

const Expression = Type.String({ minLength: 1, maxLength: 4096, description: 'A JSONata expression' });
const Field = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$',
  description: 'A path of fields in a message, such as reading.celsius',
});

export const AGGREGATES = [
  'count',
  'mean',
  'min',
  'max',
  'sum',
  'first',
  'last',
  'rate',
  'p50',
  'p90',
  'p95',
  'p99',
] as const;
const one = <K extends string, T extends Parameters<typeof Type.Object>[0][string]>(kind: K, schema: T) =>
  Type.Object({ [kind]: schema } as { [P in K]: T }, closed);

export const WindowStep = Type.Object(
  {
    every: Type.Optional(Duration),
    slide: Type.Optional(Duration),
    session: Type.Optional(Duration),
    by: Type.Optional(
      Type.Union([Type.Literal('device'), Type.Literal('topic'), Type.Literal('stream'), Field]),
    ),
    aggregates: Type.Record(
      Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,62}$' }),
      Type.Object({ of: Type.Optional(Field), use: Type.Enum([...AGGREGATES]) }, closed),
      closed,
    ),
    lateness: Type.Optional(Duration),
  },
  closed,
);
export const ThresholdStep = Type.Object(
  {
    field: Field,
    above: Type.Optional(Type.Number()),
    below: Type.Optional(Type.Number()),
    hysteresis: Type.Optional(Type.Number({ minimum: 0 })),
  },
  closed,
);
export const AnomalyStep = Type.Object(
  {
    field: Field,
    method: Type.Optional(Type.Enum(['robust-z', 'ewma'])),
    limit: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    over: Type.Optional(Type.Integer({ minimum: 3, maximum: 10_000 })),
    pass: Type.Optional(Type.Enum(['anomalies', 'all'])),
  },
  closed,
);
export const GuestStep = Type.Object(
  {
    workload: Name,
    port: Type.Optional(Type.String({ pattern: NAME_PATTERN, description: 'The name of its port' })),
    path: Type.Optional(Type.String({ pattern: '^/', maxLength: 1024 })),
    batch: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    inFlight: Type.Optional(Type.Integer({ minimum: 1, maximum: 256 })),
    timeout: Type.Optional(Duration),
  },
  closed,
);

export const StreamStep = Type.Union([
  one('filter', Expression),
  one('map', Expression),
  one('window', WindowStep),
  one('dedupe', Type.Object({ by: Type.Optional(Expression), within: Type.Optional(Duration) }, closed)),
  one('threshold', ThresholdStep),
  one('anomaly', AnomalyStep),
  one('join', Type.Object({ as: Type.Optional(Field) }, closed)),
  one('sparkplug', Type.Object({}, closed)),
  one('schema', Type.Object({ json: Type.Unknown({ description: 'A JSON Schema' }) }, closed)),
  one('guest', GuestStep),
]);
export type StreamStep = Static<typeof StreamStep>;

export const WHEN_FULL = ['oldest', 'newest', 'priority', 'wait'] as const;
export const QueueLimits = Type.Object(
  {
    size: Type.Optional(Size),
    age: Type.Optional(Duration),
    whenFull: Type.Optional(Type.Enum([...WHEN_FULL])),
    /** Of a message, a number from 0 to 9; 9 is kept longest. */
    priority: Type.Optional(Expression),
  },
  closed,
);
const sink = <K extends string, T extends Parameters<typeof Type.Object>[0][string]>(kind: K, schema: T) =>
  Type.Object(
    { [kind]: schema, queue: Type.Optional(QueueLimits) } as { [P in K]: T } & {
      queue: ReturnType<typeof Type.Optional<typeof QueueLimits>>;
    },
    closed,
  );

/** What is never shown again: `secret` fields are taken and kept, and left out of every answer. */
export const SeriesSink = Type.Object(
  {
    name: Type.Optional(Name),
    fields: Type.Optional(Type.Array(Field, { minItems: 1, maxItems: 64 })),
    retention: Type.Optional(Duration),
  },
  closed,
);
export const MqttSink = Type.Object(
  {
    url: Type.String({ pattern: '^(mqtt|mqtts|ws|wss)://', maxLength: 2048 }),
    topic: Type.String({
      minLength: 1,
      maxLength: 1024,
      description: '%d: the device, %t: its topic, %p: the project',
    }),
    qos: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 })),
    username: Type.Optional(Type.String({ maxLength: 256 })),
    password: Type.Optional(
      Type.String({ maxLength: 1024, writeOnly: true, description: 'Kept, and never shown' }),
    ),
    ca: Type.Optional(
      Type.String({ maxLength: 65_536, description: 'Certificates in PEM that it is trusted by' }),
    ),
    batch: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    compress: Type.Optional(Type.Boolean()),
  },
  closed,
);
export const WebhookSink = Type.Object(
  {
    url: Type.String({ pattern: '^https?://', maxLength: 2048 }),
    headers: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 4096 }))),
    token: Type.Optional(
      Type.String({
        maxLength: 4096,
        writeOnly: true,
        description: 'Sent as a bearer token; kept, and never shown',
      }),
    ),
    ca: Type.Optional(Type.String({ maxLength: 65_536 })),
    batch: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    compress: Type.Optional(Type.Boolean()),
  },
  closed,
);
export const FileSink = Type.Object(
  {
    name: Name,
    rotate: Type.Optional(Size),
    keep: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  },
  closed,
);
export const StreamSink = Type.Union([
  sink('series', SeriesSink),
  sink('mqtt', MqttSink),
  sink('webhook', WebhookSink),
  sink('file', FileSink),
  sink('stream', Type.Object({ name: Name }, closed)),
]);
export type StreamSink = Static<typeof StreamSink>;

export const STREAM_FORMATS = ['json', 'text', 'number', 'bytes'] as const;
export const StreamSpec = Type.Object(
  {
    from: Type.Object(
      {
        topics: Type.Optional(Type.Array(TopicPattern, { minItems: 1, maxItems: 64 })),
        /** Devices that carry all of these labels; absent: every device of the project. */
        devices: Type.Optional(Type.Object({ labels: Type.Record(Type.String(), Type.String()) }, closed)),
        /** It takes what other streams send to it. */
        streams: Type.Optional(Type.Boolean()),
      },
      closed,
    ),
    format: Type.Optional(Type.Enum([...STREAM_FORMATS])),
    /** The field of a message with the time of its event; absent: when it arrived. */
    time: Type.Optional(Field),
    steps: Type.Optional(Type.Array(StreamStep, { maxItems: 32 })),
    to: Type.Array(StreamSink, { minItems: 1, maxItems: 16 }),
    /** What no step could take (bad JSON, against the schema) is published to this topic. */
    deadLetter: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    /** Of messages that were taken and not processed yet. */
    buffer: Type.Optional(QueueLimits),
    paused: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type StreamSpec = Static<typeof StreamSpec>;
export const StreamManifest = manifest('Stream', StreamSpec);

/** Since the program at the node began to count, all nodes together. */
export const StreamCounts = Type.Object({
  received: Type.Integer(),
  sent: Type.Integer(),
  waiting: Type.Integer({ description: 'Messages that no sink has taken yet' }),
  dropped: Type.Integer({ description: 'By the stated policy of a full queue, or by their age' }),
  refused: Type.Integer({ description: 'That no step could take: the dead letters' }),
});
export const Stream = resource(
  'Stream',
  StreamSpec,
  Type.Object({
    nodes: Type.Array(
      Type.Object({ node: Type.String(), ...StreamCounts.properties, failing: Type.Optional(Type.String()) }),
    ),
  }),
);
export type Stream = Static<typeof Stream>;
