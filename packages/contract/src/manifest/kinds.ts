/** The kinds that a manifest may hold, with their schemas and with what a schema can't say. Add a resource here. */
import * as Schema from '@skerry/model/schema';
import type { Static, TSchema } from 'typebox';
import { refuseClient, refuseLink } from './access-rules.ts';
import { refuseProject, refuseStream } from './device-rules.ts';
import type { Refusal } from './explain.ts';
import { refuseWorkload } from './workload-rules.ts';

export type WorkloadManifest = Static<typeof Schema.WorkloadManifest>;
export type VolumeManifest = Static<typeof Schema.VolumeManifest>;
export type ProjectManifest = Static<typeof Schema.ProjectManifest>;
export type SiteManifest = Static<typeof Schema.SiteManifest>;
export type AccessPointManifest = Static<typeof Schema.AccessPointManifest>;
export type LinkManifest = Static<typeof Schema.LinkManifest>;
export type ClientManifest = Static<typeof Schema.ClientManifest>;
export type NodeManifest = Static<typeof Schema.NodeManifest>;
export type DeviceManifest = Static<typeof Schema.DeviceManifest>;
export type StreamManifest = Static<typeof Schema.StreamManifest>;
export type AnyManifest =
  | WorkloadManifest
  | VolumeManifest
  | ProjectManifest
  | NodeManifest
  | SiteManifest
  | AccessPointManifest
  | LinkManifest
  | ClientManifest
  | DeviceManifest
  | StreamManifest;
export type ManifestKind = AnyManifest['kind'];

export interface KindDefinition {
  readonly schema: TSchema;
  /** Its name is unique in its project only. */
  readonly inProject: boolean;
  /** Rules between fields; the value has passed the schema. */
  readonly rules?: (manifest: never) => Refusal[];
}

/** By their names. */
export type Kinds = Readonly<Record<string, KindDefinition>>;

export const KINDS: Readonly<Record<ManifestKind, KindDefinition>> = {
  Project: { schema: Schema.ProjectManifest, inProject: false, rules: refuseProject },
  Site: { schema: Schema.SiteManifest, inProject: false },
  AccessPoint: { schema: Schema.AccessPointManifest, inProject: false },
  Link: { schema: Schema.LinkManifest, inProject: false, rules: refuseLink },
  Client: { schema: Schema.ClientManifest, inProject: false, rules: refuseClient },
  Node: { schema: Schema.NodeManifest, inProject: false },
  Volume: { schema: Schema.VolumeManifest, inProject: true },
  Workload: { schema: Schema.WorkloadManifest, inProject: true, rules: refuseWorkload },
  Device: { schema: Schema.DeviceManifest, inProject: true },
  Stream: { schema: Schema.StreamManifest, inProject: true, rules: refuseStream },
};
