/**
 * What an agent says is checked before it is believed: a machine at the edge may be in the wrong hands, and what it says of
 * itself is stored and shown.
 */
import type { ControllerLink } from '@skerry/contract';
import { fieldOf, refusals, validatorOf } from '@skerry/contract/schema';
import { SkerryError } from '@skerry/model';
import { InstanceStatus, NodeStatus } from '@skerry/model/schema';
import Type, { type TSchema } from 'typebox';

const Text = Type.String({ maxLength: 4096 });
const Uid = Type.String({ maxLength: 64 });
const Register = Type.Object({
  name: Text,
  status: Type.Omit(NodeStatus, ['allocated', 'phase']),
  overheadBytes: Type.Record(Type.String({ maxLength: 32 }), Type.Number({ minimum: 0 })),
});
const Report = Type.Object({
  generation: Type.Integer({ minimum: 0 }),
  instances: Type.Array(
    Type.Union([
      Type.Object({
        uid: Uid,
        state: Type.Literal('present'),
        status: InstanceStatus,
        events: Type.Array(
          Type.Object({
            atMs: Type.Number({ minimum: 0, maximum: 8.64e15 }), // the last moment that a date can be
            type: Type.Enum(['normal', 'warning']),
            reason: Type.String({ maxLength: 128 }),
            message: Text,
          }),
          { maxItems: 1000 },
        ),
      }),
      Type.Object({ uid: Uid, state: Type.Literal('absent') }),
    ]),
    { maxItems: 100_000 },
  ),
  volumes: Type.Array(
    Type.Object({ uid: Uid, state: Type.Enum(['ready', 'absent', 'failed']), reason: Type.Optional(Text) }),
    { maxItems: 100_000 },
  ),
});
const Lease = Type.Object({
  holder: Type.String({ minLength: 1, maxLength: 128 }),
  leases: Type.Array(Type.Object({ uid: Uid, epoch: Type.Integer({ minimum: 0 }), holds: Type.Boolean() }), {
    maxItems: 10_000,
  }),
});

const Microseconds = Type.Number({ minimum: 0, maximum: 60_000_000 });
const Measurements = Type.Array(
  Type.Object({
    kind: Type.Enum(['node', 'client']),
    name: Type.String({ minLength: 1, maxLength: 63 }),
    by: Type.Optional(Type.Enum(['icmp', 'tcp'])),
    medianUs: Microseconds,
    leastUs: Microseconds,
    lossShare: Type.Number({ minimum: 0, maximum: 1 }),
    ageMs: Type.Number({ minimum: 0, maximum: 3_600_000 }),
  }),
  { maxItems: 1000 },
);

const Sightings = Type.Array(
  Type.Object({
    address: Type.String({ maxLength: 45, pattern: '^[0-9a-fA-F.:]+$' }),
    accessPoint: Type.String({ minLength: 1, maxLength: 63 }),
    ageMs: Type.Number({ minimum: 0, maximum: 3_600_000 }),
  }),
  { maxItems: 1000 },
);

const Name = Type.String({ minLength: 1, maxLength: 63 });
const Count = Type.Number({ minimum: 0 });
const Devices = Type.Object({
  fresh: Type.Optional(Type.Boolean()),
  devices: Type.Array(
    Type.Object({
      project: Name,
      name: Name,
      connected: Type.Boolean(),
      seenAgoMs: Type.Number({ minimum: 0, maximum: 8.64e15 }),
      reported: Type.Optional(
        Type.Object({
          version: Type.Integer({ minimum: 0 }),
          state: Type.Record(Type.String(), Type.Unknown()),
        }),
      ),
    }),
    { maxItems: 100_000 },
  ),
  streams: Type.Array(
    Type.Object({
      ...{
        project: Name,
        name: Name,
        received: Count,
        sent: Count,
        waiting: Count,
        dropped: Count,
        refused: Count,
      },
      failing: Type.Optional(Text),
    }),
    { maxItems: 100_000 },
  ),
  enrol: Type.Optional(
    Type.Array(Type.Object({ project: Name, name: Name, fingerprint: Type.String({ maxLength: 128 }) }), {
      maxItems: 10_000,
    }),
  ),
  listening: Type.Array(Type.String({ maxLength: 512 }), { maxItems: 1000 }),
});

/** Errors: request_invalid. */
function check(schema: TSchema, value: unknown, what: string): void {
  if (validatorOf(schema).Check(value)) return;
  const [first] = refusals(schema, value);
  const where = first ? `${fieldOf(first.path)}: ${first.message}` : 'it is not what it should be';
  throw new SkerryError('request_invalid', `${what} of an agent is not valid: ${where}`);
}

export const checkedLink = (link: ControllerLink): ControllerLink => ({
  desired: (node, signal) => link.desired(node, signal),
  async register(report) {
    check(Register, report, 'the registration');
    await link.register(report);
  },
  async report(node, observed) {
    check(Report, observed, 'a report');
    await link.report(node, observed);
  },
  async lease(node, request) {
    check(Lease, request, 'a request for leases');
    return link.lease(node, request);
  },
  async measure(node, measurements) {
    check(Measurements, measurements, 'a measurement');
    await link.measure(node, measurements);
  },
  async sighted(node, sightings) {
    check(Sightings, sightings, 'what was seen');
    await link.sighted(node, sightings);
  },
  ...(link.deviceFeed && {
    deviceFeed: (node, since, signal) => link.deviceFeed!(node, since, signal),
  }),
  ...(link.devices && {
    async devices(node, report) {
      check(Devices, report, 'a report of devices');
      await link.devices!(node, report);
    },
  }),
  ...(link.deviceCall && {
    deviceCall: (node, to, call, signal) => link.deviceCall!(node, to, call, signal),
  }),
  ...(link.deviceCertificate && {
    deviceCertificate: (node, request) => link.deviceCertificate!(node, request),
  }),
});
