/** Operation (a long request, durable) and Event (what happened, with a sequence number). */
import Type, { type Static } from 'typebox';
import { resource, Timestamp } from './shared.ts';

export const OperationSpec = Type.Object({
  action: Type.String(),
  target: Type.String(),
  input: Type.Record(Type.String(), Type.Unknown()),
});
export const OperationStatus = Type.Object({
  phase: Type.Enum(['pending', 'running', 'done', 'failed', 'cancelled']),
  /** 0 to 1 where it can be told. */
  progress: Type.Optional(Type.Number()),
  step: Type.Optional(Type.String()),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
  result: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  finishedAt: Type.Optional(Timestamp),
});
export const Operation = resource('Operation', OperationSpec, OperationStatus);
export type Operation = Static<typeof Operation>;

export const Event = Type.Object({
  sequence: Type.Integer({ description: 'Rises; resume with ?since=' }),
  at: Timestamp,
  type: Type.Enum(['normal', 'warning']),
  /** One word in CamelCase that programs may compare: Started, Restarted, OutOfMemory. */
  reason: Type.String(),
  message: Type.String(),
  about: Type.Object({
    kind: Type.String(),
    project: Type.Optional(Type.String()),
    name: Type.String(),
    uid: Type.Optional(Type.String()),
  }),
});
export type Event = Static<typeof Event>;
