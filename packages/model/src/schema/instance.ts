/** Instance: one running guest of a workload on one node. Made and changed by the controller and the agent only. */
import Type, { type Static } from 'typebox';
import { EXIT_REASONS } from '../guest.ts';
import { PHASE_NAMES } from '../phases.ts';
import { resource, Timestamp } from './shared.ts';
import { WorkloadSpec } from './workload.ts';

export const InstanceNetwork = Type.Object({
  address: Type.String({ description: 'IPv4 address on the node network' }),
  address6: Type.Optional(Type.String({ description: 'IPv6 address beside it; absent: it has none' })),
  mac: Type.String(),
  /** The host number in the subnet; interface names derive from it. */
  slot: Type.Integer(),
});

export const InstanceSpec = Type.Object({
  workload: Type.String(),
  workloadUid: Type.String(),
  ordinal: Type.Integer(),
  node: Type.Optional(Type.String()),
  /** The workload's spec and generation that this instance is to have. */
  template: WorkloadSpec,
  templateGeneration: Type.Integer(),
  imageDigest: Type.String(),
  /** Of the image in `template.vm.cdrom`. */
  cdromDigest: Type.Optional(Type.String()),
  /** Of kernel and initrd in `template.vm.boot`. */
  kernelDigest: Type.Optional(Type.String()),
  initrdDigest: Type.Optional(Type.String()),
  network: Type.Optional(InstanceNetwork),
  run: Type.Enum(['running', 'stopped']),
  /** It serves while others of its workload leave a node that is drained, and goes when they are there again. */
  standIn: Type.Optional(Type.Boolean()),
  /** It is to leave its node for a better one, once another one serves. */
  leaving: Type.Optional(Type.Boolean()),
  /** It runs only while its node has this lease, for so many milliseconds at a time. */
  lease: Type.Optional(Type.Object({ epoch: Type.Integer(), forMs: Type.Integer() })),
  restarts: Type.Integer(),
  rebuilds: Type.Integer(),
});
export type InstanceSpec = Static<typeof InstanceSpec>;

export const ExitRecord = Type.Object({
  reason: Type.Enum([...EXIT_REASONS]),
  code: Type.Optional(Type.Integer()),
  signal: Type.Optional(Type.String()),
  message: Type.String(),
  at: Timestamp,
});

export const InstanceStatus = Type.Object({
  phase: Type.Enum([...PHASE_NAMES]),
  observedGeneration: Type.Integer(),
  reason: Type.Optional(Type.String({ description: 'Why it is not running, in a sentence' })),
  health: Type.Enum(['unknown', 'healthy', 'unhealthy']),
  pid: Type.Optional(Type.Integer()),
  address: Type.Optional(Type.String()),
  guestAddresses: Type.Optional(
    Type.Array(Type.String(), { description: 'What an agent inside the guest says of its addresses' }),
  ),
  startedAt: Type.Optional(Timestamp),
  /** Milliseconds from the beginning of the start to its process running, and to its first good health check. */
  startMs: Type.Optional(Type.Number()),
  readyMs: Type.Optional(Type.Number()),
  restartCount: Type.Integer(),
  /** The last ten ends with their reasons, newest first. */
  exits: Type.Array(ExitRecord),
});
export type InstanceStatus = Static<typeof InstanceStatus>;

export const Instance = resource('Instance', InstanceSpec, InstanceStatus);
export type Instance = Static<typeof Instance>;
