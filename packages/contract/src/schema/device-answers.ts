/** Schemas of what is asked and answered about devices and streams beside the resources themselves. */
import { Device, DeviceSpec, Labels, Name, Timestamp } from '@skerry/model/schema';
import Type from 'typebox';

const closed = { additionalProperties: false } as const;
const Request = Type.String({
  maxLength: 8192,
  description: 'A certificate request (PKCS #10, PEM) with a P-256 key; absent: key and certificate are made',
});

export const DeviceRequest = Type.Object(
  {
    name: Name,
    labels: Type.Optional(Labels),
    spec: Type.Optional(DeviceSpec),
    csr: Type.Optional(Request),
  },
  closed,
);
export const RotateRequest = Type.Object({ csr: Type.Optional(Request) }, closed);

export const DeviceMade = Type.Object({
  device: Device,
  password: Type.Optional(Type.String({ description: 'Shown this once; only its hash is kept' })),
  username: Type.Optional(Type.String({ description: 'As devices say it: the project and the name' })),
  certificate: Type.Optional(Type.String({ description: 'PEM' })),
  key: Type.Optional(Type.String({ description: 'PEM; shown this once and kept nowhere' })),
  authority: Type.Optional(
    Type.String({ description: 'PEM of what the servers of nodes are signed by, for the device to trust' }),
  ),
  urls: Type.Array(Type.String(), { description: 'Where nodes listen for devices now' }),
});

const State = Type.Record(Type.String(), Type.Unknown());
const Version = Type.Integer({ description: '0: nothing was said yet' });
export const Shadow = Type.Object({
  desired: State,
  reported: State,
  delta: Type.Record(Type.String(), Type.Unknown(), {
    description: 'Of what is wished, all that was not reported so',
  }),
  versions: Type.Object({ desired: Version, reported: Version }),
  times: Type.Object({ desired: Type.Optional(Timestamp), reported: Type.Optional(Timestamp) }),
});

export const Tail = Type.Object({
  node: Type.String(),
  atMs: Type.Number(),
  place: Type.String({ description: '`from`, the number and kind of a step, or `to` with those of a sink' }),
  device: Type.String(),
  topic: Type.String(),
  id: Type.String(),
  value: Type.String({ description: 'JSON, cut off after 1,000 characters' }),
  refused: Type.Optional(Type.String({ description: 'Why it went no further' })),
});
